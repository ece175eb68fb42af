"""Runs of version 0.1 open and predict as they did.

The file beside this one holds, for a run of each kind, what version 0.1 kept in its checkpoint (settings as texts) and
the names and shapes of its weights, and what it predicted with weights drawn by `weights` below.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pcsargmax import load_run
from pcsargmax.datasets.images import ImageItem, SurfaceItem

RUNS = json.loads(Path(__file__).with_name("runs_of_0_1.json").read_text())


def weights(shapes: dict[str, tuple[list[int], str]]) -> dict[str, torch.Tensor]:
    """Random weights, each a function of its name and shape."""
    drawn = {}
    for name, (shape, kind) in shapes.items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        values = torch.rand(shape, generator=generator)
        if kind == "int64":
            drawn[name] = torch.zeros(shape, dtype=torch.long)
        elif values.ndim == 1:
            drawn[name] = values + 0.5
        else:
            drawn[name] = (values - 0.5) * math.sqrt(6 / max(1, values[0].numel()))
    return drawn


def predicted(run) -> np.ndarray:
    rng = np.random.default_rng(0)
    if run.modality == "cloud":
        return run.predict(Data(pos=torch.from_numpy(rng.normal(size=(300, 3)) * [1, 2, 3] + 5))).position
    unknown = (len(run.names), 2)
    if run.target == "keypoint":
        image = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        return run.predict(ImageItem("a", image, np.full(unknown, np.nan))).position
    image = rng.integers(0, 256, (64, 96), dtype=np.uint8)
    return run.predict(SurfaceItem("a", image, np.full((len(run.names), 96), np.nan))).rows[:, :8]


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_of_0_1_predicts_as_it_did(kind, tmp_path):
    kept = RUNS[kind]
    file = tmp_path / "last.ckpt"
    torch.save({"pcsargmax": kept["metadata"], "state_dict": weights(kept["shapes"])}, file)
    run = load_run(file)
    assert run.kind == kind
    assert run.settings.epochs == kept["metadata"]["settings"]["epochs"]
    np.testing.assert_allclose(predicted(run), kept["expected"], rtol=0, atol=2e-5)
