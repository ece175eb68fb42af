"""What a report says of keypoints found without labels, or of two such runs on the same shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pcsargmax.predictions.cloud import Prediction
from pcsargmax.visualize.report.clouds.run import RunReport, Runs
from pcsargmax.visualize.report.differences import difference_table as differences_told
from pcsargmax.visualize.report.differences import discovery_differences
from pcsargmax.visualize.report.parts import (
    Card,
    Cell,
    Kind,
    Scores,
    Summary,
    Table,
    figure_cell,
    keypoint_cell,
    number_cell,
    run_cell,
    told,
)
from pcsargmax.visualize.report.results import Results, results_of, unit_text
from pcsargmax.visualize.report.rows import figure_card, figure_table, item_table
from pcsargmax.visualize.report.shape_charts import agreement_chart


def shape_scores(runs: Runs) -> Scores:
    """How far the keypoints of each shape agree with those of the others; without annotations the cloud's distance."""
    if all(run.metrics["shapes"] is not None for run in runs.values()):
        found = {label: shape_agreement(run.metrics) for label, run in runs.items()}
        values = {label: [found[label].get(one.name) for one in run.predictions] for label, run in runs.items()}
        return Scores("agreement", "share", False, values)
    away = {label: [cloud_distance(one) for one in run.predictions] for label, run in runs.items()}
    return Scores("distance of the cloud to the skeleton", "length", True, away)


def shape_agreement(metrics: Mapping[str, Any]) -> dict[str, float]:
    """How far the keypoints of each annotated shape mean what they mean on the others, 0 to 1, by its name.

    As DAS counts, both ways: the share of the other shapes on which a keypoint has the same nearest annotation, mean
    over the keypoints, and on which an annotation has the same nearest keypoint, mean over the annotations.
    """
    shapes = metrics["shapes"]
    forward, backward = (_agreement(np.array(shapes[key])) for key in ("ids", "keypoints"))
    both = (forward + backward) / 2
    return {name: float(value) for name, value in zip(shapes["model_id"], both, strict=True) if np.isfinite(value)}


def _agreement(labels: np.ndarray) -> np.ndarray:
    """(M,) of labels (M, K), −1 for none: mean share of the other shapes with the same label, NaN without another."""
    known = labels >= 0
    same = ((labels[:, None] == labels) & known).sum(axis=1) - 1  # (M, K), without itself
    others = known.sum(axis=0) - 1
    counts = known & (others > 0)
    total = np.where(counts, same / np.maximum(others, 1), 0.0).sum(axis=1)
    return np.where(counts.any(axis=1), total / np.maximum(counts.sum(axis=1), 1), np.nan)


def cloud_distance(prediction: Prediction) -> float:
    """Mean distance of the cloud's points to the skeleton, in bounding-box diagonals: how well it covers the cloud."""
    from scipy.spatial import cKDTree

    from pcsargmax.visualize.clouds.drawing import strong_edges

    edges = strong_edges(prediction, np.arange(prediction.num_keypoints))
    skeleton = np.concatenate([prediction.position, *(edge.points for edge in edges)])
    return float(cKDTree(skeleton).query(prediction.points)[0].mean()) / _diagonal(prediction)


def summary(runs: Runs) -> Summary:
    """What was found, in one sentence, what is to be kept in mind, and cards."""
    results = results_of(runs)
    first = next(iter(results.values()))
    text = f"{len(first['keypoint_names'])} keypoints, found without labels, on {first['num_shapes']} shapes"
    if all(one["das"] is not None for one in results.values()):
        scores = [
            f"{told(one['das']['das'], 'share')}, above chance {told(one['das']['das_corrected'], 'share')}"
            f"{f' ({run})' if run else ''}"
            for run, one in results.items()
        ]
        text += (
            f", {first['num_annotated']} of them annotated. The dual alignment score (DAS) is {' and '.join(scores)}; "
            "above chance, 0 is chance and 100 % full agreement"
        )
    else:
        text += ". There are no annotations to align by"
    text += f". {first['seen_in_training']} of the shapes were seen in training, which uses no label."
    warnings = [
        f"{run + ': ' if run else ''}keypoints have collapsed. They lie in one place, which DAS rewards; "
        "read the score above chance."
        for run, one in results.items()
        if one["collapsed"]
    ]
    return Summary(text, warnings, _cards(results))


def _cards(results: Results) -> list[Card]:
    every = list(results.values())
    items = []
    if any(one["das"] is not None for one in every):
        about = "agreement of nearest annotations and keypoints"
        items.append(figure_card("DAS", results, "das", "das", "share", about))
        about = "keypoints in one place merged"
        items.append(figure_card("DAS above chance", results, "das", "das_corrected", "share", about))
    nearest = [number_cell(one["min_distance"], "plain") for one in every]
    collapsed = " and ".join(dict.fromkeys("collapsed" if one["collapsed"] else "not collapsed" for one in every))
    note = f"mean over shapes, longest side 2; {collapsed}"
    items.append(Card("nearest two keypoints", list(results), nearest, note))
    about = "of the cloud's box by the keypoints'"
    items.append(figure_card("coverage", results, "coverage", "coverage", "share", about))
    for key in every[0]["coverage"]:
        if key.startswith("inclusivity@") and "/" not in key:
            note = f"keypoints within {key.split('@')[1]} radii of the cloud"
            items.append(figure_card("inclusivity", results, "coverage", key, "share", note))
    return items


_FIGURES: list[tuple[str, str, str, Kind]] = [
    ("DAS", "das", "das", "share"),
    ("forward: nearest annotation of each keypoint", "das", "das_forward", "share"),
    ("backward: nearest keypoint of each annotation", "das", "das_backward", "share"),
    ("DAS above chance", "das", "das_corrected", "share"),
    ("its forward part", "das", "das_corrected_forward", "share"),
    ("its backward part", "das", "das_corrected_backward", "share"),
    ("nearest two keypoints, on the worst shape", "das", "min_distance_worst", "plain"),
    ("mean spacing of the annotations", "das", "annotation_spacing", "plain"),
    ("DAS by the protocol of SC3K, of all shapes", "self_alignment", "das_sc3k_all", "share"),
    ("coverage of the cloud's box", "coverage", "coverage", "share"),
    ("IoU of the boxes", "coverage", "box_iou", "share"),
    ("distance to the cloud, in its radii", "coverage", "surface_distance", "length"),
    ("nearest two keypoints, in radii of the cloud", "coverage", "spacing", "length"),
    ("reconstruction: skeleton to cloud", "reconstruction", "fidelity", "length"),
    ("reconstruction: cloud to skeleton", "reconstruction", "coverage", "length"),
]


def metric_tables(runs: Runs) -> list[Table]:
    """Scores of alignment, coverage and reconstruction; mIoU by each protocol; repeatability."""
    results = results_of(runs)
    first = next(iter(results.values()))
    protocol = f"; DAS by the protocol {first['protocol']!r}" if first["protocol"] else ""
    caption = f"Alignment and coverage: figure and 95 % interval over shapes{protocol}"
    return [figure_table(results, _FIGURES, caption), *_iou_tables(results), *_repeatability_tables(results)]


def _iou_tables(results: Results) -> list[Table]:
    """A row a protocol and run, a column a threshold."""
    known = {run: one for run, one in results.items() if one["miou"]}
    if not known:
        return []
    first, labels = next(iter(known.values())), list(results)
    keys = [key for key in first["miou"]["hungarian"] if key.startswith("iou@") and "/" not in key]
    rows = [
        [
            run_cell(protocol, run, labels.index(run)),
            *(figure_cell(one["miou"][protocol], key, "share") for key in keys),
        ]
        for protocol in first["miou"]
        for run, one in known.items()
    ]
    columns = ["protocol", *(f"mIoU{key.removeprefix('iou')}" for key in keys)]
    return [Table(columns, rows, f"mIoU with the annotations, thresholds in {unit_text(first)}")]


def _repeatability_tables(results: Results) -> list[Table]:
    """A row a change and run; nothing where it was not asked for."""
    from pcsargmax.runs.evaluation.repeatability import CHANGES

    labels = list(results)
    rows = [
        [
            run_cell(CHANGES[change][1], run, labels.index(run)),
            figure_cell(values, "repeatability@0.1", "share"),
            figure_cell(values, "movement", "length"),
        ]
        for run, one in results.items()
        for change, values in (one["repeatability"] or {}).items()
    ]
    columns = ["change", "repeatability@0.1", "movement, diagonals"]
    return [Table(columns, rows, "Keypoints found again on changed copies")] if rows else []


def difference_table(runs: Runs, seed: int = 0) -> Table | None:
    """How far the first run is from the second on the same annotated shapes; None without annotations."""
    (name, first), (other, second) = results_of(runs).items()
    return differences_told(discovery_differences(first, second, seed=seed), (name, other), "annotated shapes")


def keypoint_tables(runs: Runs, seed: int = 0) -> list[Table]:
    """A table a run, for keypoint k of one run is not that of the other; so none are compared, and `seed` is unused."""
    return [_keypoint_table(label, number, run) for number, (label, run) in enumerate(runs.items())]


def _keypoint_table(label: str, number: int, run: RunReport) -> Table:
    """A row a discovered keypoint: what it is named after, and what it lies nearest to on these shapes."""
    matched, share = run.metrics["correspondence"], nearest_share(run)
    columns = ["keypoint", *(["named after", "agreement\nin training"] if matched else [])]
    columns += [*(["nearest annotation\nhere", "on shapes"] if share is not None else [])]
    columns += [*(["distance to its annotation\nmean, diagonals"] if matched else []), "confidence\nof the map"]
    lines = []
    for k, name in enumerate(run.metrics["keypoint_names"]):
        line = [keypoint_cell(k, name)]
        if matched:
            stands_for = matched["names"][k]
            line.append(Cell(stands_for or "none", sort=stands_for))
            line.append(number_cell(matched["agreement"][k] if stands_for else None, "share"))
        if share is not None:
            best = int(share[k].argmax())
            line += [Cell(run.annotations[best], sort=run.annotations[best]), number_cell(share[k, best], "share")]
        line += [number_cell(_mean_error(run.predictions, k), "length")] if matched else []
        lines.append([*line, number_cell(np.mean([one.confidence[k] for one in run.predictions]), "share")])
    text = "; a name is that of the annotation that the training shapes match to it" if matched else ""
    caption = f"Keypoints{' of ' + label if label else ''}{text}. Headings sort."
    return Table(columns, lines, caption, f"per-keypoint{number or ''}", sortable=True)


def _mean_error(predictions: Sequence[Prediction], k: int) -> float | None:
    """Mean error of keypoint k in bounding-box diagonals; None where nowhere known."""
    away = [one.error[k] / _diagonal(one) for one in predictions if one.error is not None]
    known = [value for value in away if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def nearest_share(run: RunReport) -> np.ndarray | None:
    """(K, G) share of the shapes on which keypoint k is nearest to annotation g; None without annotations."""
    if run.metrics["shapes"] is None or not run.annotations:
        return None
    ids = np.array(run.metrics["shapes"]["ids"])
    hits = (ids[..., None] == np.arange(len(run.annotations))).sum(axis=0)
    return hits / np.maximum((ids >= 0).sum(axis=0), 1)[:, None]


def curves(runs: Runs) -> list[dict[str, Any]]:
    """Which annotation each keypoint lies nearest to, a chart a run."""
    charts = []
    for number, (label, run) in enumerate(runs.items()):
        share = nearest_share(run)
        if share is not None:
            title = f"Nearest annotation{', ' + label if label else ''}"
            keypoints = run.metrics["keypoint_names"]
            charts.append(agreement_chart(f"chart-agreement-{number}", title, share, keypoints, run.annotations))
    return charts


def shape_table(runs: Runs, scores: Scores, picks: Sequence[int | None]) -> Table:
    """A row a shape, worst first, with a way to its picture where it has one."""
    names = next(iter(runs.values())).item_names
    caption = "Shapes, worst first. Headings sort, names lead to the picture."
    return item_table("shape", names, scores, picks, caption, differences=False)


def _diagonal(prediction: Prediction) -> float:
    return float(np.linalg.norm(np.ptp(prediction.points, axis=0))) or 1.0
