"""Result files as a benchmark leaves them, of made-up errors and labels; what tables read, and no more."""

import json
from pathlib import Path

import numpy as np

from pcsargmax.benchmark.experiments import SETTINGS, counted_settings, parse_method


def detector_result(
    data="mug", method="soft", seed=0, *, shift=1.0, models=12, keypoints=5, unit="raw", split="test", **settings
) -> dict:
    """A detector whose errors are about 0.01, times `shift`; the shapes are as hard for every method and seed."""
    hard = np.random.default_rng(len(data)).lognormal(-4.6, 0.5, (models, keypoints))
    rng = np.random.default_rng([seed, *method.encode()])
    expectation = shift * hard * rng.lognormal(0, 0.3, hard.shape)
    visible = np.random.default_rng(1).random(hard.shape) < 0.8
    confidence = np.exp(-expectation / 0.02) * rng.uniform(0.7, 1, hard.shape)

    def errors(values):
        return [
            [float(f"{e:.6g}") if v else None for e, v in zip(*row, strict=True)]
            for row in zip(values, visible, strict=True)
        ]

    shapes = {
        "model_id": [f"{number:032x}" for number in range(models)],
        "visible": visible.tolist(),
        "errors": {"expectation": errors(expectation), "snapped": errors(expectation / 2)},
        "confidence": confidence.round(6).tolist(),
        "peak": np.square(confidence).round(6).tolist(),
        "diagonal": [1.0] * models,
    }
    metrics = {"split": split, "unit": unit, "shapes": shapes}
    return _result("detector", data, method, seed, metrics, settings)


def discovery_result(
    data="mug", method="soft", seed=0, *, wrong=0.2, models=12, keypoints=4, ids=5, **settings
) -> dict:
    """A discovery with a share of wrong labels."""
    rng = np.random.default_rng([seed, *method.encode(), 1])

    def labels(columns, count):
        right = np.arange(columns) % count
        return np.where(rng.random((models, columns)) < wrong, rng.integers(0, count, (models, columns)), right)

    shapes = {
        "model_id": [f"{number:032x}" for number in range(models)],
        "ids": labels(keypoints, ids).tolist(),
        "keypoints": labels(ids, keypoints).tolist(),
        "merged_ids": labels(keypoints, ids).tolist(),
        "merged_keypoints": labels(ids, keypoints).tolist(),
    }
    metrics = {"split": "all", "unit": "raw", "shapes": shapes}
    return _result("discovery", data, method, seed, metrics, settings)


def image_result(
    data="faces", method="soft", seed=0, *, shift=1.0, images=12, keypoints=5, length="inter-ocular", **settings
) -> dict:
    """A network for images whose errors are about 2 pixels, times `shift`, of lengths of about 40."""
    hard = np.random.default_rng(len(data)).lognormal(0.7, 0.5, (images, keypoints))
    rng = np.random.default_rng([seed, *method.encode(), 2])
    errors = shift * hard * rng.lognormal(0, 0.3, hard.shape)
    visible = np.random.default_rng(1).random(hard.shape) < 0.8
    kept = {
        "name": [f"{number:03}.png" for number in range(images)],
        "length": np.random.default_rng(3).uniform(30, 50, images).round(4).tolist(),
        "errors": np.where(visible, errors, np.nan).astype(object).tolist(),
        "confidence": np.exp(-errors / 2).round(6).tolist(),
    }
    kept["errors"] = [[None if error != error else error for error in row] for row in kept["errors"]]
    metrics = {"split": "test", "length": {"name": length, "keypoints": None}, "images": kept}
    return _result("images", data, method, seed, metrics, settings)


def surface_result(data="slices", method="soft", seed=0, *, images=6, surfaces=3, **settings) -> dict:
    """A network for slices whose surfaces are about 1 pixel off; one of them is unknown in the first slice."""
    errors = np.random.default_rng([seed, *method.encode(), 4]).uniform(0.5, 1.5, (images, surfaces)).tolist()
    errors[0][1] = None
    kept = {"name": [f"{number:03}" for number in range(images)], "errors": errors}
    return _result("images", data, method, seed, {"split": "test", "unit": "pixels", "images": kept}, settings)


def _result(kind, data, method, seed, metrics, changes) -> dict:
    parsed = parse_method(method, kind)
    samples = {"num_samples": parsed.num_samples} if parsed.num_samples else {}
    basis = {"basis": parsed.basis} if parsed.basis else {}
    told = {"objective": parsed.objective, "seed": seed, "data": data}
    settings = SETTINGS[kind].from_dict(told | samples | basis | changes)
    return {
        "version": 1,
        "kind": kind,
        "data": data,
        "method": method,
        "seed": seed,
        "settings": counted_settings(settings, data),
        "data_hash": None,
        "commit": "0123456789" * 4,
        "versions": {"pcsargmax": "0.1.0", "torch": "2.13.0"},
        "machine": {"cpu": "one", "threads": 1, "device": "cpu"},
        "finished": "2026-01-01T00:00:00+00:00",
        "seconds": {"train": 1.0, "evaluate": 1.0},
        "metrics": metrics,
    }


def write_results(folder: Path, results: list[dict]) -> Path:
    """Write them as a benchmark does, a file each; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(results):
        name = f"{result['data']}-{result['kind']}-{result['method']}-seed{result['seed']}-{number:08x}.json"
        (folder / name).write_text(json.dumps(result))
    return folder


def several_results() -> list[dict]:
    """Two data, three methods, three seeds, both kinds; no sampling-30 on chairs."""
    made = []
    for seed in range(3):
        for data in ("mug", "chair"):
            made += [detector_result(data, "soft", seed), detector_result(data, "sampling-10", seed, shift=0.7)]
            made += [discovery_result(data, "soft", seed), discovery_result(data, "sampling-1", seed, wrong=0.1)]
        made.append(detector_result("mug", "sampling-30", seed, shift=0.9))
    return made
