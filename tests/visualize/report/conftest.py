import dataclasses
import datetime

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.models.template import Template
from pcsargmax.ops.skeleton import edge_pairs
from pcsargmax.predictions.cloud import Skeleton
from pcsargmax.runs.evaluation.detector import Evaluation, Protocol
from pcsargmax.runs.evaluation.discovery import DiscoverScorer
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.visualize.report import RunReport

WRITTEN = datetime.datetime(2026, 5, 4, 3, 2)


@pytest.fixture
def make_report(mug, tmp_path):
    """Make the report of a detector of 4 keypoints on mugs: make_report("name", shapes=5, off=0.01, objective="soft").

    `off` is how far its keypoints lie from where the mug's prediction has them; the shapes are m0, m1, …
    """

    def make(
        name="mug-run", *, shapes=5, off=0.0, objective="sampling", unit="raw", points=60, length_unit=None
    ) -> RunReport:
        items, found = zip(*(_mug(mug, number, off, points) for number in range(shapes)), strict=True)
        found = tuple(dataclasses.replace(one, length_unit=length_unit) for one in found)
        counted = Evaluation(Protocol(), Template.fit(items), None, None, length_unit=length_unit)
        for item, one in zip(items, found, strict=True):
            counted.update(item, one, 1.0 if unit == "raw" else float(np.linalg.norm(np.ptp(one.points, axis=0))))
        settings = TrainSettings(data="mug", objective=objective, seed=3).to_dict()
        head = {"data": "mug", "split": "test", "unit": unit, "objective": objective, "settings": settings}
        head |= {"checkpoint": "best.ckpt", "keypoint_names": list(found[0].keypoint_names)}
        head |= {"seconds_per_cloud": 0.02, "seen_in_training": 0}
        log = tmp_path / f"{name}-log.csv"
        log.write_text("epoch,step,train/loss,val/loss\n0,9,1.5,2\n1,19,0.5,\n1,19,,0.75\n")
        return RunReport(name, head | counted.compute(), found, logs=(log,), trained=WRITTEN)

    return make


def _mug(mug, number, off, points):
    one = mug(seed=number, points=points)
    confidence = np.random.default_rng(number).uniform(0.1, 0.9, 4)
    names = ("handle", "rim <b>", "</script>", "spout")
    moved = one.position + np.array([off * (1 + number), 0, 0])
    found = dataclasses.replace(one, name=f"m{number}", confidence=confidence, keypoint_names=names, position=moved)
    truth = torch.from_numpy(one.truth)[None]
    visible = ~truth.isnan().any(dim=-1)
    pos = torch.from_numpy(one.points).float()
    keypoints = truth.nan_to_num(nan=0.0)
    return Data(pos=pos, keypoint_pos=keypoints, keypoint_visible=visible, model_id=f"m{number}"), found


@pytest.fixture
def make_discovery(mug):
    """Make the report of a discovery of 4 keypoints on mugs, of which all but the last lie at an annotation.

    `swapped` shapes have the first two keypoints exchanged; without `annotated` nothing is known of the shapes.
    """

    def make(name="mug-discovery", *, shapes=6, swapped=1, annotated=True, collapsed=False) -> RunReport:
        ends = edge_pairs(4)
        offsets = torch.zeros(len(ends), 200, 3)
        scorer = DiscoverScorer(offsets, "raw", (0.02, 0.1))
        found = []
        for number in range(shapes):
            item, one = _mug(mug, number, 0.0, 60)
            position = one.position.copy()
            if number < swapped:
                position[:2] = position[1::-1]
            if collapsed:
                position[:] = position[0]
            skeleton = Skeleton(
                ends, np.ones(6), np.repeat(position[ends[:, 0]], 3, axis=0), np.repeat(np.arange(6), 3)
            )
            one = dataclasses.replace(one, position=position, visibility=np.ones(4), skeleton=skeleton)
            item.frame_scale, item.sigma = torch.ones(1), 0.01
            if not annotated:
                item.keypoint_visible[:] = False
                one = dataclasses.replace(one, truth=None)
            scorer.update(
                torch.from_numpy(position)[None].float(), torch.ones(6), item, torch.from_numpy(one.probability)
            )
            found.append(one)
        matched = {"ids": [0, 1, 2, None], "names": ["handle", "rim <b>", "</script>", None]}
        matched |= {"agreement": [0.9, 0.8, 1.0, 0.0], "distance": [0.1, 0.2, 0.3, None]}
        settings = {"num_samples": 1, "backbone": "light", "epochs": 9, "seed": 2}
        metrics = {"kind": "skeleton_merger", "data": "mug", "split": "all", "objective": "soft", "settings": settings}
        metrics |= {"checkpoint": "last.ckpt", "keypoint_names": ["handle", "rim <b>", "</script>", "kp3"]}
        metrics |= {"correspondence": matched if annotated else None, "repeatability": None}
        metrics |= {"seconds_per_cloud": 0.02, "seen_in_training": shapes} | scorer.compute()
        names = ("handle", "rim <b>", "</script>", "spout") if annotated else ()
        return RunReport(name, metrics, tuple(found), annotations=names, trained=WRITTEN)

    return make
