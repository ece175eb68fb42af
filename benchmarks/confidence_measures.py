"""How far each measure of confidence goes with correctness, and what a conformal radius holds, on runs' test splits.

    python benchmarks/confidence_measures.py runs/mug-* runs/teeth-*

Prints, as the mean over the runs of a kind, Pearson's r of each measure with an error of at most 2 % of the diagonal,
then coverage and mean of the radius fitted on one half of the test shapes and measured on the other, 200 times.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import get_args

import numpy as np
import torch

from pcsargmax import confidence_measure, load_run
from pcsargmax.predictions.calibration import COVERAGE, THRESHOLD, Measure, RadiusForm, conformal_quantile

SPLITS = 200


def measured(folder: Path, data: str | None) -> tuple[str, dict[str, np.ndarray]]:
    """Return the kind of a run and, for each visible keypoint of its test split: shape, error, spread and measures."""
    run = load_run(folder)
    if data is not None:
        run = run.with_data(data)
    rows: dict[str, list[float]] = defaultdict(list)
    dataset = run.dataset("test")
    for i in range(len(dataset)):
        maps, prepared = run.distribution(dataset[i])
        visible = prepared.keypoint_visible[0]
        error = (maps.mean[0] - prepared.keypoint_pos[0]).norm(dim=-1)
        values = {name: confidence_measure(maps, name)[0] for name in get_args(Measure)}
        values |= {"error": error, "deviation": maps.spread[0]}
        for name, value in values.items():
            rows[name] += value[visible].tolist()
        rows["shape"] += [i] * int(visible.sum())
    kind = f"{Path(run.settings.data).name}, {run.settings.objective}"
    return kind, {name: np.asarray(value) for name, value in rows.items()}


def radius(rows: dict[str, np.ndarray], form: str, rng: np.random.Generator) -> tuple[float, float]:
    """Return coverage and mean of the radius, each half of the shapes fitted in turn."""
    spread = rows["deviation"] if form == "scaled" else np.ones_like(rows["error"])
    covered, means = [], []
    for _ in range(SPLITS):
        order = rng.permutation(int(rows["shape"].max()) + 1)
        fitted = np.isin(rows["shape"], order[: len(order) // 2])
        quantile = conformal_quantile(torch.from_numpy(rows["error"][fitted] / spread[fitted]), COVERAGE)
        assert quantile is not None
        bound = quantile * spread[~fitted]
        covered.append((rows["error"][~fitted] <= bound).mean())
        means.append(bound.mean())
    return fmean(covered), fmean(means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", help="where the data are now, if they have moved since")
    arguments = parser.parse_args()
    kinds = defaultdict(list)
    for folder in arguments.runs:
        kind, rows = measured(folder, arguments.data)
        kinds[kind].append(rows)
    print("| | " + " | ".join(kinds) + " |\n|---|" + "---|" * len(kinds))
    for measure in get_args(Measure):
        shares = [
            fmean(np.corrcoef(rows[measure], rows["error"] <= THRESHOLD)[0, 1] for rows in runs)
            for runs in kinds.values()
        ]
        print(f"| {measure} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")
    for form in get_args(RadiusForm):
        found = []
        for runs in kinds.values():
            rng = np.random.default_rng(0)
            both = [radius(rows, form, rng) for rows in runs]
            found.append(f"{fmean(c for c, _ in both):.3f}, {fmean(m for _, m in both):.4f}")
        print(f"| {form} radius: coverage, mean | " + " | ".join(found) + " |")


if __name__ == "__main__":
    main()
