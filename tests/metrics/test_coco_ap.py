import contextlib
import copy
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("pycocotools")
from pcsargmax.metrics import CocoKeypointAP
from pcsargmax.metrics.bootstrap import resample_weights
from pcsargmax.metrics.coco_ap import COCO_METRICS, coco_results, coco_score
from pcsargmax.metrics.coco_matches import LEVELS, RECALLS, CocoMatches


def annotations(num_images: int = 12, seed: int = 0) -> dict:
    """Images with no, one or several people, of several sizes, some crowds or without a labelled keypoint."""
    rng = np.random.default_rng(seed)
    images, people = [], []
    for image in range(1, num_images + 1):
        images.append({"id": image, "file_name": f"{image:012d}.jpg", "width": 640, "height": 480})
        for number in range(rng.integers(0, 4)):
            side = rng.uniform(20, 200)
            keypoints = np.column_stack([rng.uniform(0, side, (17, 2)).round() + 100, rng.integers(0, 3, 17)])
            keypoints[keypoints[:, 2] == 0] = 0
            if number == 2:
                keypoints[:] = 0
            people.append(
                {
                    "id": 100 * image + number,
                    "image_id": image,
                    "category_id": 1,
                    "keypoints": keypoints.flatten().tolist(),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                    "area": side**2,
                    "bbox": [100.0, 100.0, side, side],
                    "iscrowd": int(number == 1 and image % 5 == 0),
                }
            )
    return {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}


def found(content: dict, seed: int = 1, noise: float = 6.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Poses near the annotated ones, and one elsewhere in every other image, on half pixels."""
    rng = np.random.default_rng(seed)
    ids, poses = [], []
    for person in content["annotations"]:
        keypoints = np.array(person["keypoints"]).reshape(17, 3)[:, :2]
        ids.append(person["image_id"])
        poses.append(keypoints + rng.normal(0, noise, (17, 2)) * rng.choice([0.3, 1, 3]))
    for image in content["images"][::2]:
        ids.append(image["id"])
        poses.append(rng.uniform(0, 400, (17, 2)))
    score = rng.permutation(len(ids)) / 64
    return torch.tensor(ids), torch.from_numpy(np.array(poses) * 2).round() / 2, torch.from_numpy(score)


def peer(folder, content: dict, results: list, image_ids: list[int] | None = None) -> np.ndarray:
    """The ten figures as COCO's own evaluation gives them of two files."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "keypoints")
        if image_ids is not None:
            evaluation.params.imgIds = image_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_the_figures_are_those_of_cocos_evaluation(tmp_path, capsys):
    content = annotations()
    before = copy.deepcopy(content)
    ids, poses, score = found(content)
    metric = CocoKeypointAP(content, num_bootstrap=20)
    metric.update(poses[:5], score[:5], ids[:5])
    metric.update(poses[5:], score[5:], ids[5:])
    result = metric.compute()
    wanted = peer(tmp_path, content, coco_results(poses, score, ids))
    assert [float(result[name]) for name in COCO_METRICS] == pytest.approx(wanted.tolist(), abs=1e-6)
    assert 0.2 < result["ap"] < 0.9
    assert result["ap/low"] <= result["ap"] <= result["ap/high"]
    assert result["ap50/low"] <= result["ap50"] <= result["ap50/high"]
    labelled = [p for p in content["annotations"] if p["num_keypoints"] and not p["iscrowd"]]
    counts = {"num_images": 12, "num_poses": len(ids), "num_objects": len(labelled)}
    assert {name: int(result[name]) for name in counts} == counts
    assert content == before
    assert capsys.readouterr().out == ""


def test_a_file_gives_the_same_and_images_can_be_chosen(tmp_path):
    content = annotations()
    ids, poses, score = found(content)
    chosen = [2, 3, 5, 8]
    some = torch.isin(ids, torch.tensor(chosen))
    wanted = peer(tmp_path, content, coco_results(poses, score, ids), chosen)
    metric = CocoKeypointAP(tmp_path / "truth.json", image_ids=chosen, num_bootstrap=0)
    metric.update(poses[some], score[some], ids[some])
    result = metric.compute()
    assert [float(result[name]) for name in COCO_METRICS] == pytest.approx(wanted.tolist(), abs=1e-6)
    assert "ap/low" not in result
    with pytest.raises(ValueError, match=r"image_id must be among the images asked for, got \[1"):
        metric.update(poses, score, ids)


def test_perfect_poses_have_all():
    content = annotations()
    people = [p for p in content["annotations"] if p["num_keypoints"] and not p["iscrowd"]]
    keypoints = torch.tensor([p["keypoints"] for p in people]).reshape(-1, 17, 3)
    metric = CocoKeypointAP(content, num_bootstrap=20)
    metric.update(keypoints[..., :2], torch.ones(len(people)), torch.tensor([p["image_id"] for p in people]))
    result = metric.compute()
    assert [float(result[name]) for name in ("ap", "ap75", "ar", "ap/low", "ap/high")] == pytest.approx([1] * 5)


def test_no_pose_finds_nobody():
    metric = CocoKeypointAP(annotations(), num_bootstrap=5)
    metric.update(torch.empty(0, 17, 2), torch.empty(0), torch.empty(0, dtype=torch.long))
    result = metric.compute()
    assert [float(result[name]) for name in ("ap", "ar", "ap/low", "num_poses")] == [0, 0, 0, 0]


def test_nobody_to_be_found_is_told_as_coco_does():
    content = annotations() | {"annotations": []}
    metric = CocoKeypointAP(content, num_bootstrap=5)
    metric.update(torch.zeros(1, 17, 2), torch.ones(1), torch.tensor([1]))
    result = metric.compute()
    assert result["ap"] == -1
    assert result["ap/low"].isnan()


def test_resamples_count_images_as_often_as_they_are_drawn(tmp_path):
    content = annotations()
    ids, poses, score = found(content)
    results = coco_results(poses, score, ids)
    metric = CocoKeypointAP(content)
    metric.update(poses, score, ids)
    assert metric.matches is None
    metric.compute()
    matches = metric.matches
    assert list(matches.image_id) == [image["id"] for image in content["images"]]
    again = CocoMatches.from_dict(json.loads(json.dumps(matches.to_dict())))
    weights = torch.cat([torch.ones(1, 12, dtype=torch.float64), resample_weights(12, 4)])
    assert torch.equal(again.average_precision(weights), matches.average_precision(weights))
    for row, drawn in zip(matches.average_precision(weights), weights.long().tolist(), strict=True):
        images, people, poses_drawn = [], [], []
        for image, often in zip(content["images"], drawn, strict=True):
            for copy_number in range(often):
                own = 1000 * copy_number + image["id"]
                images.append(image | {"id": own})
                people += [
                    p | {"id": 10**6 * copy_number + p["id"], "image_id": own}
                    for p in content["annotations"]
                    if p["image_id"] == image["id"]
                ]
                poses_drawn += [r | {"image_id": own} for r in results if r["image_id"] == image["id"]]
        wanted = peer(tmp_path, content | {"images": images, "annotations": people}, poses_drawn)
        assert [float(row.mean()), float(row[0]), float(row[5])] == pytest.approx(wanted[:3].tolist())


def test_precision_is_read_at_cocos_recalls_to_the_last_bit():
    from pycocotools.cocoeval import Params

    assert np.array_equal(RECALLS.numpy(), Params("keypoints").recThrs)
    assert len(Params("keypoints").iouThrs) == LEVELS


PROCESS = """
import datetime, json, sys, torch
from pcsargmax.metrics import CocoKeypointAP, JointError, OksCorrelation
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group(
    "gloo", init_method="file://" + store, rank=rank, world_size=2, timeout=datetime.timedelta(seconds=60)
)
torch.manual_seed(0)
target = torch.rand(6, 17, 3) * 100
prediction, visible = target + torch.randn(6, 17, 3), torch.ones(6, 17, dtype=torch.bool)
truth = json.load(open(sys.argv[3]))
uneven, empty = [[CocoKeypointAP(truth), JointError(), OksCorrelation()] for _ in range(2)]
flat, ids = (prediction[..., :2], target[..., :2]), torch.tensor([p["image_id"] for p in truth["annotations"]])[:6]
for metrics, mine in ((uneven, slice(0, 4) if rank == 0 else slice(4, 6)), (empty, slice(0, 0 if rank == 0 else 6))):
    if mine.stop:
        metrics[0].update(target[mine, :, :2], torch.arange(6.0)[mine], ids[mine])
        metrics[1].update(prediction[mine], target[mine], visible[mine])
        trust = torch.linspace(0, 1, 17).expand(6, 17)
        metrics[2].update(*(x[mine] for x in flat), visible[mine], torch.full((6,), 900.0)[mine], trust[mine])
for metrics in (uneven, empty):
    results = [metric.compute() for metric in metrics]
    counts = results[0]["num_poses"], results[1]["num_poses"], results[2]["num_items"]
    print(*(f"{float(x):.5f}" for x in (*counts, results[0]["ar"], results[1]["pa_mpjpe"], results[2]["pearson"])))
torch.distributed.destroy_process_group()
"""


def test_two_processes_give_what_one_gives_even_if_one_has_no_pose(tmp_path):
    (tmp_path / "truth.json").write_text(json.dumps(annotations()))
    command = [sys.executable, "-W", "ignore", "-c", PROCESS]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store"), str(tmp_path / "truth.json")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            uneven, empty = process.communicate(timeout=120)[0].splitlines()
            assert process.returncode == 0
            assert uneven == empty
            assert uneven.split()[:3] == ["6.00000"] * 3
    finally:
        for process in processes:
            process.kill()


def test_ids_may_be_large():
    content = annotations(2)
    content["annotations"] = []
    for number, image in enumerate(content["images"]):
        image["id"] = 2**53 + number
    metric = CocoKeypointAP(content, num_bootstrap=0)
    metric.update(torch.zeros(2, 17, 2), torch.ones(2), torch.tensor([2**53 + 1, 2**53]))
    assert [result["image_id"] - 2**53 for result in metric.results()] == [1, 0]


def test_other_keypoints_have_other_widths(tmp_path):
    content = annotations(4)
    for person in content["annotations"]:
        person["keypoints"] = [10.0, 10, 2, 20, 10, 2]
        person["num_keypoints"] = 2
    ids = torch.tensor([p["image_id"] for p in content["annotations"]])
    poses = torch.tensor([[[11.0, 10], [20, 11]]]).expand(len(ids), 2, 2)
    scores = []
    for sigma in (0.001, 0.2):
        metric = CocoKeypointAP(content, sigmas=(sigma, sigma), num_bootstrap=0)
        metric.update(poses, torch.arange(len(ids)).double(), ids)
        scores.append(float(metric.compute()["ap"]))
    assert scores == [0, pytest.approx(1)]


def test_the_score_is_the_papers():
    confidence = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    assert coco_score(confidence).tolist() == [1.25, 1]
    assert coco_score(confidence, torch.tensor([0.5, 0.25])).tolist() == [1.75, 1.25]


def test_results_are_in_cocos_format():
    keypoints = torch.tensor([[[1.5, 2, 0.25], [3, 4, 0.5]]])
    wanted = [{"image_id": 7, "category_id": 1, "keypoints": [1.5, 2, 0.25, 3, 4, 0.5], "score": 2.0}]
    assert coco_results(keypoints, torch.tensor([2.0]), torch.tensor([7])) == wanted
    assert coco_results(keypoints[..., :2], torch.tensor([2.0]), torch.tensor([7]))[0]["keypoints"][2::3] == [1, 1]


def test_bad_input_is_named(tmp_path):
    content = annotations()
    metric = CocoKeypointAP(content)
    with pytest.raises(ValueError, match=r"must be \(B, 17, 2\), \(B,\) and \(B,\), got \(2, 16, 2\), \(2,\)"):
        metric.update(torch.zeros(2, 16, 2), torch.zeros(2), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="preds and scores must be finite"):
        metric.update(torch.full((1, 17, 2), torch.nan), torch.zeros(1), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"image_ids must be at least one, .* got \[99\]"):
        CocoKeypointAP(content, image_ids=[1, 99])
    with pytest.raises(ValueError, match="expected 16 keypoints, got 17"):
        CocoKeypointAP(content, sigmas=(0.1,) * 16)
    with pytest.raises(FileNotFoundError, match=r"annotations: no such file: .*none\.json"):
        CocoKeypointAP(tmp_path / "none.json")
