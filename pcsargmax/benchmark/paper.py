"""The numbers that the paper prints, as plain data to hold results against.

Li et al., *Localization with Sampling-Argmax* (NeurIPS 2021). Methods have the names of `--objective`, sampling with
its number of samples N_s behind a dash. Shares are in per cent. The mean columns are kept as printed, so that they can
be held against the rows.
"""

from __future__ import annotations

#: The tables that are made, and what each shows.
TABLES = {
    "pck": "PCK of detectors, methods x data (the paper's Table 6)",
    "das": "dual alignment score of discoveries, as published and above chance, methods x data (Table 7)",
    "samples": "both by the number of samples, data x N_s (Table 2)",
    "confidence": "correlation of the map's peak and of confidence with correctness, methods x data (Table 3)",
    "images": "error of networks for images, methods x data (the tables of faces and of the retina)",
}

#: Columns of Tables 6 and 7: the 16 categories of KeypointNet.
CATEGORIES = (
    "airplane",
    "bathtub",
    "bed",
    "bottle",
    "cap",
    "car",
    "chair",
    "guitar",
    "helmet",
    "knife",
    "laptop",
    "motorcycle",
    "mug",
    "skateboard",
    "table",
    "vessel",
)


def _row(text: str) -> dict[str, float]:
    return dict(zip(CATEGORIES, map(float, text.split()), strict=True))


#: Table 6: KeypointNet, supervised, PCK at 0.01 in per cent, official test split, by method and category.
PCK = {
    "soft": _row("64.9 43.6 44.0 53.9 8.3 40.2 37.2 45.5 4.9 43.8 46.6 40.8 23.9 27.7 53.9 32.6"),
    "soft_vr": _row("64.1 41.6 39.2 53.2 12.5 38.3 37.7 44.5 3.7 39.8 52.8 44.0 24.9 25.6 54.4 30.7"),
    "soft_dr": _row("63.2 42.7 43.9 55.8 16.7 42.2 38.6 43.2 4.9 42.4 48.9 41.9 26.8 28.2 54.0 30.3"),
    "sampling-1": _row("65.0 43.0 41.2 53.6 6.2 43.4 38.7 42.5 6.2 45.4 50.6 43.5 26.3 37.5 51.6 33.3"),
    "sampling-5": _row("65.1 42.4 43.8 54.7 12.5 43.2 37.1 44.6 1.9 45.4 46.6 44.7 29.7 26.7 54.6 31.4"),
    "sampling-10": _row("64.0 45.5 41.7 58.6 20.8 40.9 37.0 43.4 3.7 45.7 48.3 46.4 18.2 34.4 53.5 32.3"),
    "sampling-30": _row("64.3 45.1 47.5 58.4 6.2 44.6 39.2 45.4 6.2 45.8 48.7 43.4 29.9 30.4 54.1 28.8"),
}

#: The threshold of Table 6, raw units.
PCK_THRESHOLD = 0.01

#: Table 7: KeypointNet, unsupervised (Skeleton Merger), dual alignment score in per cent, by method and category.
DAS = {
    "soft": _row("69.1 56.2 58.0 45.4 59.1 70.2 76.8 34.1 55.7 50.0 91.5 53.4 52.2 65.7 72.5 35.8"),
    "soft_vr": _row("72.0 55.4 57.4 52.8 54.7 63.4 70.9 56.1 61.6 50.3 82.4 59.8 71.7 65.3 85.1 38.1"),
    "soft_dr": _row("47.9 35.5 47.3 46.1 58.3 65.5 60.9 35.3 47.6 69.3 64.1 55.0 45.9 44.2 57.6 28.8"),
    "sampling-1": _row("73.9 53.8 63.5 43.9 67.0 69.3 77.7 46.6 59.1 55.9 87.8 59.0 67.0 66.2 80.3 36.4"),
    "sampling-5": _row("73.1 54.0 61.9 48.4 64.4 67.0 81.1 50.7 55.2 50.1 87.5 58.2 58.9 65.9 77.9 41.2"),
    "sampling-10": _row("73.9 58.8 61.7 46.2 60.9 68.6 72.0 53.6 56.5 48.1 91.6 59.8 68.8 65.8 83.5 34.9"),
    "sampling-30": _row("71.2 56.7 60.0 51.0 58.4 64.1 83.8 47.6 61.8 47.8 91.3 55.5 68.5 70.6 81.7 37.5"),
}

#: The mean column of Table 6, as printed.
PCK_MEAN = {
    "soft": 38.2,
    "soft_vr": 37.9,
    "soft_dr": 39.0,
    "sampling-1": 39.3,
    "sampling-5": 39.0,
    "sampling-10": 39.7,
    "sampling-30": 39.9,
}

#: The mean column of Table 7, as printed.
DAS_MEAN = {
    "soft": 59.1,
    "soft_vr": 62.3,
    "soft_dr": 50.6,
    "sampling-1": 62.9,
    "sampling-5": 62.2,
    "sampling-10": 62.8,
    "sampling-30": 63.0,
}

#: Columns of `SAMPLES`: N_s.
NUM_SAMPLES = (1, 5, 10, 30, 50)

#: Table 2: COCO keypoints, mAP in per cent by basis and number of samples.
SAMPLES = {
    "uniform": dict(zip(NUM_SAMPLES, (67.8, 67.8, 67.9, 68.2, 68.1), strict=True)),
    "triangular": dict(zip(NUM_SAMPLES, (69.7, 69.7, 69.6, 69.8, 69.8), strict=True)),
    "gaussian": dict(zip(NUM_SAMPLES, (68.1, 68.1, 68.2, 68.3, 68.3), strict=True)),
}

#: The same by objective, and of sampling by basis and number of samples.
AP = {"discrete": 30.9, "soft": 64.5, "soft_vr": 60.6, "soft_dr": 55.6} | {
    f"{basis}-{number}": value for basis, values in SAMPLES.items() for number, value in values.items()
}

#: Table 3: COCO keypoints, Pearson's r of the map's peak with correctness (OKS), by objective and of sampling by basis.
CONFIDENCE = {
    "soft": 0.233,
    "soft_vr": 0.158,
    "soft_dr": 0.082,
    "uniform": 0.394,
    "triangular": 0.432,
    "gaussian": 0.423,
}

#: Human3.6M, trained with MPII: MPJPE and PA-MPJPE in mm, by objective and of sampling by basis.
MPJPE = {"soft": 50.4, "soft_vr": 49.7, "soft_dr": 51.9, "uniform": 49.6, "triangular": 49.5, "gaussian": 50.9}
PA_MPJPE = {"soft": 39.5, "soft_vr": 39.2, "soft_dr": 41.4, "uniform": 39.1, "triangular": 39.1, "gaussian": 39.0}

#: Faces of MTFL, five points: mean error over the inter-ocular distance in per cent, by objective and of sampling by
#: basis.
NME = {
    "soft": 7.25,
    "soft_vr": 7.22,
    "soft_dr": 7.20,
    "uniform": 6.86,
    "triangular": 6.82,
    "gaussian": 6.96,
}

#: Surfaces of the retina (MSHC): mean absolute distance, by objective and of sampling by basis. The first looks like
#: another unit than the rest.
MAD = {
    "soft": 3.08,
    "soft_vr": 0.743,
    "soft_dr": 0.746,
    "uniform": 0.735,
    "triangular": 0.744,
    "gaussian": 0.740,
}
