"""What a report says of keypoints found in images, by one run or by two on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pcsargmax.metrics.paired import Statistic, ratio_statistic
from pcsargmax.metrics.statistics import correlation_statistic, pck_statistic
from pcsargmax.visualize.report.differences import compared, keypoint_differences
from pcsargmax.visualize.report.differences import difference_table as differences_told
from pcsargmax.visualize.report.images.charts import image_error_chart, share_chart, trust_charts
from pcsargmax.visualize.report.images.parts import each_chart, error_rows, mean_of
from pcsargmax.visualize.report.images.run import ImageReport, ImageReports
from pcsargmax.visualize.report.parts import (
    NONE,
    Cell,
    Kind,
    Scores,
    card,
    cards,
    figure_cell,
    heading,
    keypoint_cell,
    number_cell,
    paragraph,
    run_name,
    seen_warnings,
    shape_cell,
    table,
    told,
)
from pcsargmax.visualize.report.results import results_of

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
    values = {label: [None if np.isnan(x) else float(x) for x in nme(run)] for label, run in runs.items()}
    return Scores("NME", "share", True, values)


def summary(runs: ImageReports) -> str:
    """The first lines of the page: what was found, in a sentence, what is to be kept in mind, and cards."""
    first, seen = next(iter(runs.values())), seen_warnings(results_of(runs), "images")
    if first.metrics["nme"] is None:
        return paragraph("Nothing is annotated in these images, so that no error is known.") + seen
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
    return f"{paragraph(text)}\n{seen}{_cards(runs)}"


def _cards(runs: ImageReports) -> str:
    labels, every = list(runs), [run.metrics for run in runs.values()]
    first = next(iter(runs.values()))

    def of(part: str, key: str, kind: Kind) -> list[Cell]:
        return [figure_cell(one[part], key, kind) for one in every]

    def inside(part: str, block: str, key: str, kind: Kind) -> list[Cell]:
        return [figure_cell(one[part][block] if block else one[part], key, kind) for one in every]

    items = []
    if first.metrics["people"] is not None:
        items.append(card("AP (OKS)", labels, inside("people", "ap", "ap", "share"), "COCO's mAP of keypoints"))
    if first.metrics["joints"] is not None:
        items.append(card("MPJPE", labels, inside("joints", "", "mpjpe", "length"), "millimetres"))
        items.append(card("PA-MPJPE", labels, inside("joints", "", "pa_mpjpe", "length"), "millimetres"))
    items.append(card("NME", labels, of("nme", "nme", "share"), f"of {length_text(first)}"))
    items.append(card("mean error", labels, of("nme", "mean_error", "length"), "pixels of the images"))
    keys = pck_keys(first)
    if keys:
        middle = keys[len(keys) // 2]
        items.append(card(middle.upper(), labels, of("pck", middle, "share"), "of that length"))
    if all(one["confidence"] for one in every):
        at = told(first.metrics["confidence"]["threshold"], "share")
        items.append(card("Pearson's r", labels, of("confidence", "pearson", "plain"), f"confidence, error up to {at}"))
    return cards(items)


def metric_tables(runs: ImageReports) -> str:
    """Errors, COCO's figures, errors in space, and what confidence was worth."""
    first = next(iter(runs.values()))
    if first.metrics["nme"] is None:
        return ""
    keys = pck_keys(first)
    columns = [("nme", "nme", "share"), ("nme", "median_nme", "share")]
    columns += [("nme", key, "share") for key in first.metrics["nme"] if key.startswith("failure@") and "/" not in key]
    columns += [("nme", key, "share") for key in first.metrics["nme"] if key.startswith("auc@") and "/" not in key]
    columns += [("nme", "mean_error", "length"), *(("pck", key, "share") for key in keys)]
    names = [_heading(key) for _, key, _ in columns]
    caption = f"Errors as shares of {length_text(first)}, the mean error in pixels; 95 % intervals over images"
    parts = [table(["", *names], _rows(runs, columns), caption=caption)]
    if first.metrics["people"] is not None:
        told_of = [("ap", key, "share") for key in _COCO]
        figures = {label: run.metrics["people"]["ap"] for label, run in runs.items()}
        blocks = {  # COCO's -1: there is nothing of that size
            label: {"ap": {key: None if value == -1 else value for key, value in found.items()}}
            for label, found in figures.items()
        }
        boxes = first.metrics["boxes"]
        caption = f"COCO's average precision and recall over OKS 0.5 to 0.95; boxes: {boxes}"
        parts.append(table(["", *(key.upper() for key in _COCO)], _rows_of(blocks, told_of), caption=caption))
    if first.metrics["joints"] is not None:
        keys = ["mpjpe", "pa_mpjpe", "median_error"]
        blocks = {label: {"joints": run.metrics["joints"]} for label, run in runs.items()}
        told_of = [("joints", key, "length") for key in keys]
        caption = "Errors in space, millimetres: roots in one place, and after a similarity (PA)"
        parts.append(table(["", "MPJPE", "PA-MPJPE", "median"], _rows_of(blocks, told_of), caption=caption))
    return "".join(parts) + _trust_table(runs)


def _heading(key: str) -> str:
    words = {"nme": "NME", "median_nme": "median NME", "mean_error": "mean error (px)"}
    return words.get(key) or key.replace("failure@", "NME > ").replace("auc@", "AUC to ").replace("pck@", "PCK@")


def _rows(runs: ImageReports, columns: Sequence[tuple[str, str, str]]) -> list[list[Cell]]:
    return _rows_of({label: run.metrics for label, run in runs.items()}, columns)


def _rows_of(blocks: Mapping[str, Mapping[str, Any]], columns: Sequence[tuple[str, str, str]]) -> list[list[Cell]]:
    """A row a run, a column a figure: block, key and kind."""
    rows = []
    for number, (label, values) in enumerate(blocks.items()):
        cells = [figure_cell(values[block], key, kind) for block, key, kind in columns]  # type: ignore[arg-type]
        name = "this run" if not label else ""
        rows.append([Cell(label or name, html=run_name(name, label, number).removeprefix(", ")), *cells])
    return rows


def _trust_table(runs: ImageReports) -> str:
    """A row a figure, a column a run."""
    every = [run.metrics for run in runs.values()]
    if not every[0]["confidence"]:
        return ""
    wanted: list[tuple[str, str, Kind]] = [
        ("mean confidence", "mean_confidence", "share"),
        ("share that was right", "share_correct", "share"),
        ("Pearson's r of confidence and being right", "pearson", "plain"),
        ("Spearman's r of confidence and small error", "spearman", "plain"),
        ("calibration error (ECE)", "ece", "share"),
        ("Brier score", "brier", "plain"),
    ]
    rows = [[Cell(name), *(figure_cell(one["confidence"], key, kind) for one in every)] for name, key, kind in wanted]
    if every[0]["people"] is not None and every[0]["people"]["oks"]:
        more: list[tuple[str, str, Kind]] = [
            ("Pearson's r of confidence and OKS (paper, Table 3)", "pearson", "plain"),
            ("the same of whole poses", "pearson_item", "plain"),
            ("mean OKS", "mean_oks", "share"),
        ]
        rows += [
            [Cell(name), *(figure_cell(one["people"]["oks"], key, kind) for one in every)] for name, key, kind in more
        ]
    at = told(every[0]["confidence"]["threshold"], "share")
    caption = f"Confidence: the peak of a keypoint's map. Right: an error of at most {at} of the length"
    return table(["", *(label or "value" for label in runs)], rows, caption=caption)


def difference_table(runs: ImageReports, seed: int = 0) -> str:
    """How far the first run is from the second on the same images."""
    labels, reports = list(runs), list(runs.values())
    if any(one.metrics["nme"] is None for one in reports):
        return ""
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


def keypoint_tables(runs: ImageReports, seed: int = 0) -> str:
    """A row a keypoint: how often it is there, errors, PCK, confidence; of two runs their difference too."""
    labels, first = list(runs), next(iter(runs.values()))
    rows = error_rows(runs)
    keys = pck_keys(first)[1:2]
    columns = ["keypoint", "in images", *(heading("mean error (px)", label) for label in labels)]
    apart = None
    if len(labels) > 1:
        apart = keypoint_differences(*(run.values("errors") for run in runs.values()), seed=seed)
        columns.append("difference")
    columns += [heading("median", label) for label in labels] + [heading("NME", label) for label in labels]
    columns += [heading(key.upper(), label) for key in keys for label in labels]
    columns += [heading("mean confidence", label) for label in labels]
    lines = []
    for k, name in enumerate(first.names):
        count = rows[labels[0]]["count"][k]
        line = [keypoint_cell(k, name), Cell(f"{count:.0f} of {len(first.image_names)}", sort=float(count))]
        line += [number_cell(row["mean"][k], "length", row["low"][k], row["high"][k]) for row in rows.values()]
        if apart is not None:
            difference, low, high = (one[k] for one in apart)
            line.append(number_cell(difference, "length", low, high, signed=True))
        line += [number_cell(row["median"][k], "length") for row in rows.values()]
        line += [number_cell(_of_keypoint(run, "nme", "nme_per_keypoint", k), "share") for run in runs.values()]
        line += [number_cell(_pck(run, key, k), "share") for key in keys for run in runs.values()]
        line += [number_cell(_sure(run)[k], "share") for run in runs.values()]
        lines.append(line)
    note = f"; difference: {labels[0]} − {labels[1]} on the same images" if apart else ""
    caption = f"Keypoints; errors in pixels, 95 % intervals over images{note}. Headings sort."
    return table(columns, lines, caption=caption, name="per-keypoint", sortable=True)


def _of_keypoint(run: ImageReport, block: str, key: str, k: int) -> float | None:
    found = run.metrics[block]
    return None if found is None else found[key][k]


def _pck(run: ImageReport, key: str, k: int) -> float | None:
    found = run.metrics["pck"]
    value: float | None = None if found is None else found["pck_per_keypoint"][pck_keys(run).index(key)][k]
    return value


def _sure(run: ImageReport) -> np.ndarray:
    """(K,) mean confidence of each keypoint where it is annotated."""
    return mean_of(np.where(np.isnan(run.values("errors")), np.nan, run.values("confidence")).T)


def shape_table(runs: ImageReports, scores: Scores, picks: Sequence[int | None]) -> str:
    """A row an image, worst first, with a way to its picture where it has one."""
    labels, first = list(runs), next(iter(runs.values()))
    errors, sure = first.values("errors"), first.values("confidence")
    pixels = mean_of(errors)
    columns = ["image", "keypoints", *(heading("NME", label) for label in labels)]
    columns += ["difference"] if len(labels) > 1 else []
    columns += [heading(text, labels[0]) for text in ("mean error (px)", "largest (px)", "of keypoint", "confidence")]
    lines = []
    for number, name in enumerate(first.image_names):
        known = ~np.isnan(errors[number])
        means = [scores.values[label][number] for label in labels]
        line = [shape_cell(name, picks[number]), Cell(str(known.sum()), sort=int(known.sum()))]
        line += [number_cell(mean, "share") for mean in means]
        if len(means) == 2:
            apart = None if means[0] is None or means[1] is None else means[0] - means[1]
            line.append(number_cell(apart, "share", signed=True))
        line.append(number_cell(pixels[number], "length"))
        if known.any():
            worst = int(np.nanargmax(errors[number]))
            line += [number_cell(errors[number, worst], "length"), Cell(first.names[worst], sort=first.names[worst])]
            line.append(number_cell(float(sure[number][known].mean()), "share"))
        else:
            line += [Cell(NONE)] * 3
        lines.append(line)
    lines.sort(key=lambda line: 1.0 if line[2].sort is None else -float(line[2].sort))
    caption = "Images, worst first. Headings sort, names lead to the picture."
    return table(columns, lines, caption=caption, name="per-shape", sortable=True)


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


__all__ = [
    "curves",
    "difference_table",
    "keypoint_tables",
    "metric_tables",
    "shape_scores",
    "shape_table",
    "summary",
]
