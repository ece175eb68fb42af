"""What a report says of a detector, or of two on the same shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pcsargmax.runs.evaluation.estimates import ESTIMATES
from pcsargmax.visualize.report.charts import pck_chart, reliability_chart, sparsification_chart
from pcsargmax.visualize.report.clouds.detector_rows import keypoint_errors_of, keypoint_tables, shape_table
from pcsargmax.visualize.report.clouds.run import Runs
from pcsargmax.visualize.report.differences import alike_right, detector_differences, values_of
from pcsargmax.visualize.report.differences import difference_table as differences_told
from pcsargmax.visualize.report.parts import (
    Card,
    Cell,
    Kind,
    Scores,
    Summary,
    Table,
    figure_cell,
    run_cell,
    seen_warnings,
    told,
)
from pcsargmax.visualize.report.results import (
    Results,
    lengths_of,
    metric_keys,
    middle_pck,
    results_of,
    unit_text,
    up_to,
)
from pcsargmax.visualize.report.rows import figure_card, figure_table, mean_of, optional
from pcsargmax.visualize.report.shape_charts import keypoint_chart

#: Said where the confidence of two runs is about unlike errors.
UNLIKE = ". Confidence is not compared: the runs were trained up to unlike symmetries"

__all__ = [
    "curves",
    "difference_table",
    "keypoint_tables",
    "metric_tables",
    "shape_scores",
    "shape_table",
    "summary",
]


def shape_scores(runs: Runs) -> Scores:
    """The mean error of each shape; None where nothing is annotated."""
    found = {}
    for label, run in runs.items():
        means = optional(mean_of(values_of(run.metrics, "errors")))
        by_name = dict(zip(run.metrics["shapes"]["model_id"], means, strict=True))
        found[label] = [by_name[one.name] for one in run.predictions]
    return Scores("mean error", "length", True, found)


def summary(runs: Runs) -> Summary:
    """What was found, in one sentence, what is to be kept in mind, and cards."""
    results = results_of(runs)
    metrics = next(iter(results.values()))
    pck, found = middle_pck(metrics), metrics["expectation"]
    shares = [f"{told(one['expectation'][pck], 'share')}{f' ({run})' if run else ''}" for run, one in results.items()]
    text = (
        f"On {found['num_models']} shapes, {' and '.join(shares)} of {found['num_keypoints']} keypoints lie within "
        f"{pck.removeprefix('pck@')} ({unit_text(metrics)}) of their annotation; of the template, the mean keypoints "
        f"of the training shapes, {told(metrics['template'][pck], 'share')}. Figures have 95 % intervals over shapes."
    )
    return Summary(text, seen_warnings(results, "shapes"), _cards(results, pck))


def _cards(results: Results, pck: str) -> list[Card]:
    every = list(results.values())
    first, template = every[0], every[0]["template"]
    length = f"template {told(template['mean_error'], 'length')}, {unit_text(first)}"
    items = [
        figure_card(pck.upper(), results, "expectation", pck, "share", f"template {told(template[pck], 'share')}"),
        figure_card("mean error", results, "expectation", "mean_error", "length", length),
    ]
    if lengths := lengths_of(results):
        known = next(iter(lengths.values()))
        title, note = f"mean error ({known['unit']})", f"template {told(known['template']['mean_error'], 'length')}"
        items.append(figure_card(title, lengths, "expectation", "mean_error", "length", note))
    if any(one["calibration"] is not None for one in every):
        told_of = {True: "fitted on the validation split", False: "not fitted: no validation split"}
        fitted = " and ".join(dict.fromkeys(told_of[one["confidence"]["calibrated"]] for one in every))
        items.append(figure_card("calibration error of confidence", results, "calibration", "ece", "share", fitted))
    else:
        unit = unit_text(first)
        items.append(figure_card("median error", results, "expectation", "median_error", "length", unit))
    if any(one["sparsification"] is not None for one in every):
        random = told(first["sparsification"]["ause_random"], "length")
        note = f"0 is best; random ranking {random}"
        items.append(figure_card("sparsification error (AUSE)", results, "sparsification", "ause", "length", note))
    if any(one["radius"] is not None for one in every):
        nominal = next(one["radius"]["nominal"] for one in every if one["radius"] is not None)
        meant = f"nominal {told(nominal, 'share')}"
        items.append(figure_card("coverage of the radius", results, "radius", "coverage", "share", meant))
    return items


def metric_tables(runs: Runs) -> list[Table]:
    """PCK, mIoU and error of each estimator; quality of presence and confidence; other distances."""
    results = results_of(runs)
    first = next(iter(results.values()))
    shares = metric_keys(first, "pck")
    overlaps = metric_keys(first, "iou")
    headings = [key.upper() for key in shares] + [f"m{key.upper().replace('IOU', 'IoU')}" for key in overlaps]
    parts = [
        Table(
            ["", *headings, "mean error", "median error"],
            _estimate_rows(results, [*shares, *overlaps, "mean_error", "median_error"]),
            caption=f"One row per estimator: value and 95 % interval over shapes; lengths in {unit_text(first)}",
        ),
        *_length_tables(results),
        _trust_table(results),
    ]
    for part, text in (("symmetric", "Up to the annotated symmetries"), ("geodesic", "Along the cloud")):
        blocks = {name: one[part] for name, one in results.items() if one[part] is not None}
        if blocks:
            columns = ["", *(key.upper() for key in shares), "mean error"]
            parts.append(Table(columns, _estimate_rows(blocks, [*shares, "mean_error"]), caption=text))
    return parts


def _length_tables(results: Results) -> list[Table]:
    """Errors of each estimator in the unit of the files; nothing where that is not known."""
    blocks = lengths_of(results)
    if not blocks:
        return []
    caption = f"Errors in {next(iter(blocks.values()))['unit']}, the unit of the landmark files"
    return [Table(["", "mean error", "median error"], _estimate_rows(blocks, ["mean_error", "median_error"]), caption)]


def _estimate_rows(blocks: Results, keys: Sequence[str]) -> list[list[Cell]]:
    """One row per estimator and run; the template is a single one where it is the same for both."""
    rows = []
    labels = list(blocks)
    for estimate, meaning in ESTIMATES.items():
        found = {label: block[estimate] for label, block in blocks.items() if estimate in block}
        name = estimate.replace("_", " ")
        alike = len(found) > 1 and len({str(_known(values)) for values in found.values()}) == 1
        for label, values in [*found.items()][: 1 if alike else None]:
            cells = [figure_cell(values, key, "length" if key.endswith("error") else "share") for key in keys]
            rows.append([run_cell(name, "" if alike else label, labels.index(label), meaning), *cells])
    return rows


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """The single figures."""
    return {key: value for key, value in values.items() if not isinstance(value, list)}


def _trust_table(results: Results) -> Table:
    """What presence and confidence were worth."""
    first = next(iter(results.values()))
    at = middle_pck(first).removeprefix("pck@")
    wanted: list[tuple[str, str, str, Kind]] = [
        ("presence right", "presence", "accuracy", "share"),
        ("average precision of presence", "presence", "average_precision", "share"),
        ("average precision of absence", "presence", "average_precision_absent", "share"),
        (f"F1 of detections within {at}", "presence", f"f1@{at}", "share"),
        (f"mAP@{at}, by {first['map']['score'].replace(' x ', ' × ')}", "map", f"map@{at}", "share"),
        ("mean confidence", "calibration", "mean_confidence", "share"),
        ("accuracy", "calibration", "share_correct", "share"),
        ("calibration error (ECE)", "calibration", "ece", "share"),
        ("Brier score", "calibration", "brier", "plain"),
        ("Pearson's r of confidence and being right", "calibration", "pearson", "plain"),
        ("Spearman's r of confidence and small error", "calibration", "spearman", "plain"),
        ("sparsification error (AUSE)", "sparsification", "ause", "length"),
        ("AUSE of random ranking", "sparsification", "ause_random", "length"),
        ("coverage of the radius", "radius", "coverage", "share"),
        ("mean radius", "radius", "mean", "length"),
    ]
    if lengths := lengths_of(results):
        wanted.append((f"mean radius ({next(iter(lengths.values()))['unit']})", "lengths", "radius", "length"))
        results = {label: {"lengths": None, **one} for label, one in results.items()}
    trusts = [one["confidence"] for one in results.values()]
    threshold = f"{100 * first['confidence']['threshold']:g} % of the diagonal"
    caption = f"Presence and confidence; right: an error of at most {threshold}{up_to(trusts)}"
    return figure_table(results, wanted, caption)


def difference_table(runs: Runs, seed: int = 0) -> Table | None:
    """How far the first run is from the second on the same shapes."""
    (name, first), (other, second) = results_of(runs).items()
    found = detector_differences(first, second, seed=seed)
    more = "" if alike_right(first, second) else UNLIKE
    return differences_told(found, (name, other), "shapes", more)


def curves(runs: Runs) -> list[dict[str, Any]]:
    """PCK, reliability and sparsification curves, and the error of each keypoint."""
    results = results_of(runs)
    first = next(iter(results.values()))
    unit = unit_text(first)
    return [
        pck_chart(results, unit),
        *reliability_chart(results),
        *sparsification_chart(results, unit),
        keypoint_chart(keypoint_errors_of(results), first["keypoint_names"], unit),
    ]
