"""What a report says of keypoints found in images, by one run or by two on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pcsargmax.metrics.paired import Statistic, ratio_statistic
from pcsargmax.metrics.statistics import correlation_statistic, pck_statistic
from pcsargmax.visualize.report.differences import compared, keypoint_differences
from pcsargmax.visualize.report.differences import difference_table as differences_told
from pcsargmax.visualize.report.images.charts import each_chart, image_error_chart, share_chart, trust_charts
from pcsargmax.visualize.report.images.run import ImageReport, ImageReports
from pcsargmax.visualize.report.parts import (
    Card,
    Cell,
    Kind,
    Scores,
    Summary,
    Table,
    number_cell,
    seen_warnings,
    told,
)
from pcsargmax.visualize.report.results import results_of
from pcsargmax.visualize.report.rows import (
    difference_note,
    error_rows,
    figure_card,
    figure_table,
    item_table,
    keypoint_table,
    mean_of,
    optional,
    run_rows,
    worst_cells,
)

#: Figures of COCO's evaluation in a table.
_COCO = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar", "ar50", "ar75")


def length_text(report: ImageReport) -> str:
    """What errors are divided by."""
    length = report.metrics["length"]
    if length["name"] == "box":
        return "the square root of the area of the box"
    return f"the inter-ocular distance ({' to '.join(length['keypoints'])})"


def shares(report: ImageReport) -> np.ndarray:
    """(M, K) errors over the length of each image, NaN where either is not known."""
    return report.values("errors") / report.values("length")[:, None]


def nme(report: ImageReport) -> np.ndarray:
    """(M,) normalised mean error of each image, NaN where it is not known."""
    return mean_of(shares(report))


def pck_keys(report: ImageReport) -> list[str]:
    """The keys of PCK at its thresholds, such as "pck@0.1"."""
    found = report.metrics["pck"] or {}
    return [key for key in found if key.startswith("pck@") and "/" not in key]


def shape_scores(runs: ImageReports) -> Scores:
    """The normalised error of each image; None where nothing is annotated."""
    return Scores("NME", "share", True, {label: optional(nme(run)) for label, run in runs.items()})


def summary(runs: ImageReports) -> Summary:
    """What was found, in one sentence, what is to be kept in mind, and cards."""
    first, seen = next(iter(runs.values())), seen_warnings(results_of(runs), "images")
    if first.metrics["nme"] is None:
        return Summary("Nothing is annotated in these images, so that no error is known.", seen)
    told_of = [
        f"{told(run.metrics['nme']['nme'], 'share')}{f' ({label})' if label else ''}" for label, run in runs.items()
    ]
    count, left = (first.metrics["nme"][key] for key in ("num_images", "num_left_out"))
    text = (
        f"On {count:.0f} images, the mean error of a keypoint is {' and '.join(told_of)} of {length_text(first)}. "
        f"Figures have 95 % intervals over images."
    )
    text += f" {left:.0f} images without a known length are left out." if left else ""
    text += " Each image was looked at mirrored too." if first.metrics["flip_test"] else ""
    return Summary(text, seen, _cards(runs))


def _cards(runs: ImageReports) -> list[Card]:
    results, first = results_of(runs), next(iter(runs.values()))
    items = []
    if first.metrics["people"] is not None:
        people = {label: one["people"] for label, one in results.items()}
        items.append(figure_card("AP (OKS)", people, "ap", "ap", "share", "COCO's mAP of keypoints"))
    if first.metrics["joints"] is not None:
        items.append(figure_card("MPJPE", results, "joints", "mpjpe", "length", "millimetres"))
        items.append(figure_card("PA-MPJPE", results, "joints", "pa_mpjpe", "length", "millimetres"))
    items.append(figure_card("NME", results, "nme", "nme", "share", f"of {length_text(first)}"))
    items.append(figure_card("mean error", results, "nme", "mean_error", "length", "pixels of the images"))
    keys = pck_keys(first)
    if keys:
        middle = keys[len(keys) // 2]
        items.append(figure_card(middle.upper(), results, "pck", middle, "share", "of that length"))
    if all(one["confidence"] for one in results.values()):
        note = f"confidence, error up to {told(first.metrics['confidence']['threshold'], 'share')}"
        items.append(figure_card("Pearson's r", results, "confidence", "pearson", "plain", note))
    return items


def metric_tables(runs: ImageReports) -> list[Table]:
    """Errors, COCO's figures, errors in space, and what confidence was worth."""
    first, results = next(iter(runs.values())), results_of(runs)
    if first.metrics["nme"] is None:
        return []
    single = [key for key in first.metrics["nme"] if "/" not in key]
    keys = ["nme", "median_nme", *(key for part in ("failure@", "auc@") for key in single if key.startswith(part))]
    columns: list[tuple[str, str, Kind]] = [("nme", key, "share") for key in keys]
    columns += [("nme", "mean_error", "length"), *(("pck", key, "share") for key in pck_keys(first))]
    caption = f"Errors as shares of {length_text(first)}, the mean error in pixels; 95 % intervals over images"
    parts = [Table(["", *(_heading(key) for _, key, _ in columns)], run_rows(results, columns), caption)]
    if first.metrics["people"] is not None:
        blocks = {  # COCO's -1: there is nothing of that size
            label: {"ap": {key: None if value == -1 else value for key, value in one["people"]["ap"].items()}}
            for label, one in results.items()
        }
        caption = f"COCO's average precision and recall over OKS 0.5 to 0.95; boxes: {first.metrics['boxes']}"
        rows = run_rows(blocks, [("ap", key, "share") for key in _COCO])
        parts.append(Table(["", *(key.upper() for key in _COCO)], rows, caption))
    if first.metrics["joints"] is not None:
        rows = run_rows(results, [("joints", key, "length") for key in ("mpjpe", "pa_mpjpe", "median_error")])
        caption = "Errors in space, millimetres: roots in one place, and after a similarity (PA)"
        parts.append(Table(["", "MPJPE", "PA-MPJPE", "median"], rows, caption))
    return [*parts, *_trust_tables(runs)]


def _heading(key: str) -> str:
    words = {"nme": "NME", "median_nme": "median NME", "mean_error": "mean error (px)"}
    return words.get(key) or key.replace("failure@", "NME > ").replace("auc@", "AUC to ").replace("pck@", "PCK@")


def _trust_tables(runs: ImageReports) -> list[Table]:
    """What confidence was worth; nothing without one."""
    every = {label: run.metrics for label, run in runs.items()}
    first = next(iter(every.values()))
    if not first["confidence"]:
        return []
    wanted: list[tuple[str, str, str, Kind]] = [
        ("mean confidence", "confidence", "mean_confidence", "share"),
        ("share that was right", "confidence", "share_correct", "share"),
        ("Pearson's r of confidence and being right", "confidence", "pearson", "plain"),
        ("Spearman's r of confidence and small error", "confidence", "spearman", "plain"),
        ("calibration error (ECE)", "confidence", "ece", "share"),
        ("Brier score", "confidence", "brier", "plain"),
        ("Pearson's r of confidence and OKS (paper, Table 3)", "oks", "pearson", "plain"),
        ("the same of whole poses", "oks", "pearson_item", "plain"),
        ("mean OKS", "oks", "mean_oks", "share"),
    ]
    blocks = {
        label: {"confidence": one["confidence"], "oks": (one["people"] or {}).get("oks")}
        for label, one in every.items()
    }
    at = told(first["confidence"]["threshold"], "share")
    caption = f"Confidence: the peak of a keypoint's map. Right: an error of at most {at} of the length"
    return [figure_table(blocks, wanted, caption)]


def difference_table(runs: ImageReports, seed: int = 0) -> Table | None:
    """How far the first run is from the second on the same images."""
    labels, reports = list(runs), list(runs.values())
    if any(one.metrics["nme"] is None for one in reports):
        return None
    each = [torch.from_numpy(shares(one)) for one in reports]
    measured: list[tuple[str, Kind, bool, list[Statistic]]] = [
        ("NME", "share", True, [_mean(torch.from_numpy(nme(one))) for one in reports]),
        *(
            (key.upper(), "share", False, [pck_statistic(one, float(key.removeprefix("pck@"))) for one in each])
            for key in pck_keys(reports[0])
        ),
    ]
    thresholds = [one.metrics["confidence"]["threshold"] for one in reports]
    if thresholds[0] == thresholds[1]:
        sure = [torch.from_numpy(one.values("confidence")) for one in reports]
        trust = [correlation_statistic(a, b, thresholds[0]) for a, b in zip(sure, each, strict=True)]
        measured.append(("Pearson's r of confidence and being right", "plain", False, trust))
    found = [compared(*one, len(each[0]), seed) for one in measured]
    return differences_told(found, (labels[0], labels[1]), "images")


def _mean(values: torch.Tensor) -> Statistic:
    return ratio_statistic(values.nan_to_num(nan=0.0), (~values.isnan()).double())


def keypoint_tables(runs: ImageReports, seed: int = 0) -> list[Table]:
    """A row a keypoint: how often it is there, errors, PCK, confidence; of two runs their difference too."""
    first, errors = next(iter(runs.values())), {label: run.values("errors") for label, run in runs.items()}
    rows: dict[str, dict[str, Any]] = dict(error_rows(errors))
    more: dict[str, Kind] = {"median": "length", "NME": "share"}
    for key in [*pck_keys(first)[1:2], "mean confidence"]:
        more[key.replace("pck", "PCK")] = "share"
    for label, run in runs.items():
        unknown = [None] * len(first.names)
        found, row = run.metrics["pck"], rows[label]
        row |= dict.fromkeys(more, unknown) | row
        row["NME"] = (run.metrics["nme"] or {"nme_per_keypoint": unknown})["nme_per_keypoint"]
        if found is not None:
            shares = zip(pck_keys(run), found["pck_per_keypoint"], strict=True)
            row |= {key.upper(): values for key, values in shares}
        row["mean confidence"] = mean_of(np.where(np.isnan(errors[label]), np.nan, run.values("confidence")).T)
    note = difference_note([*runs], "images")
    table = keypoint_table(
        first.names,
        rows,
        more,
        keypoint_differences(*errors.values(), seed=seed) if len(runs) > 1 else None,
        counted=("in images", len(first.item_names)),
        error="mean error (px)",
        caption=f"Keypoints; errors in pixels, 95 % intervals over images{note}. Headings sort.",
    )
    return [table]


def shape_table(runs: ImageReports, scores: Scores, picks: Sequence[int | None]) -> Table:
    """A row an image, worst first, with a way to its picture where it has one."""
    first = next(iter(runs.values()))
    errors, sure = first.values("errors"), first.values("confidence")
    pixels = mean_of(errors)

    def cells(number: int) -> list[Cell]:
        return [number_cell(pixels[number], "length"), *worst_cells(errors[number], first.names, sure[number])]

    return item_table(
        "image",
        first.item_names,
        scores,
        picks,
        "Images, worst first. Headings sort, names lead to the picture.",
        counts=(~np.isnan(errors)).sum(axis=1),
        more=("mean error (px)", "largest (px)", "of keypoint", "confidence"),
        cells=cells,
    )


def curves(runs: ImageReports) -> list[dict[str, Any]]:
    """PCK, errors of the images, confidence, and the error of each keypoint."""
    first = next(iter(runs.values()))
    if first.metrics["nme"] is None:
        return []
    unit = "% of the length"
    thresholds = [float(key.removeprefix("pck@")) for key in pck_keys(first)] or [0.1]
    at = np.linspace(0, max(thresholds), 61)
    every = {label: shares(run) for label, run in runs.items()}
    return [
        share_chart("chart-pck", "PCK curve", "keypoints", every, at, unit),
        image_error_chart({label: nme(run) for label, run in runs.items()}, "NME", unit, 100.0),
        *trust_charts(runs, every),
        each_chart(runs, "pixels"),
    ]
