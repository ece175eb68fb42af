import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pcsargmax.benchmark.robustness import CHANGES, seen_from_sides, sweep, with_outliers
from pcsargmax.benchmark.robustness_scores import DiscoveryTally, Sighting
from pcsargmax.metrics import DAS
from pcsargmax.metrics.perturbations import noisy, partial_view
from pcsargmax.ops.seeds import mix_seed
from pcsargmax.runs.load import load_run

NOISE = {"noise": (0.0, 0.02)}


@pytest.fixture(scope="module")
def run(box_run):
    """The run as if its two validation shapes had been enough for a radius."""
    found = load_run(box_run)
    return replace(found, calibration=replace(found.calibration, quantile=1.5))


@pytest.fixture(scope="module")
def discovery(box_root, tmp_path_factory):
    from pcsargmax.settings.discovery import DiscoverSettings
    from pcsargmax.training.discovery.train import discover

    settings = DiscoverSettings(data="box", root=str(box_root), keypoints=4, epochs=2, batch_size=4, device="cpu")
    return discover(settings, tmp_path_factory.mktemp("runs") / "discovery")


@pytest.fixture(scope="module")
def found(run):
    return sweep(run, severities={"noise": (0.0, 0.02), "density": (), "rotation": (90,)}, thresholds=(0.05, 0.1))


def ball(num=400):
    pos = torch.randn(num, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return pos / pos.norm(dim=1, keepdim=True)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_of(result, change):
    return [row for row in result["rows"] if row["change"] == change]


def noisy_copy(item, number, sigma, seed=0):
    """The item with noise of `sigma` diagonals, written out; the diagonal; its annotations, in raw units."""
    pos = item.pos.double()
    diagonal = (pos.amax(dim=0) - pos.amin(dim=0)).norm()
    draw = generator(mix_seed(seed, number, 0))
    moved = pos + sigma * diagonal * torch.randn(pos.shape, generator=draw, dtype=torch.float64)
    return moved, float(diagonal), item.keypoint_pos[0].double()


def calibration_error(confidence, correct, bins=10):
    """Expected calibration error in bins of equal width, closed above, written out."""
    total = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = ((confidence > low) | (number == 0)) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


class TestChanges:
    def test_one_side_is_a_partial_view(self):
        pos = ball()
        one = seen_from_sides(pos, pos[:3], views=1, generator=generator())
        other = partial_view(pos, pos[:3], generator=generator())
        assert torch.equal(one.pos, other.pos)
        assert torch.equal(one.keypoints, pos[:3])

    def test_more_sides_see_more_of_the_same(self):
        pos = ball()
        seen = [seen_from_sides(pos, pos[:3], views=v, generator=generator()).pos for v in (1, 2, 4, 16)]
        sets = [{tuple(p) for p in points.tolist()} for points in seen]
        assert sets[0] < sets[1] < sets[2] < sets[3] <= {tuple(p) for p in pos.tolist()}
        assert len(sets[3]) > 0.9 * len(pos)

    def test_outliers_leave_keypoints_and_the_other_points(self):
        pos = ball()
        copy = with_outliers(pos, pos[:3], share=0.1, reach=2.0, generator=generator())
        moved = (copy.pos != pos).any(dim=1)
        assert int(moved.sum()) == 40
        assert torch.equal(copy.keypoints, pos[:3])
        assert copy.pos.abs().max() > 1.2

    @pytest.mark.parametrize("name", CHANGES)
    def test_greater_severity_is_the_same_change_carried_further(self, name):
        pos = ball()
        copies = [CHANGES[name].apply(pos, pos, s, generator()) for s in CHANGES[name].severities]
        if name in ("density", "view"):  # fewer and fewer points, always of those before
            kept = [{tuple(p) for p in copy.pos.tolist()} for copy in copies]
            assert all(later < before for before, later in pairwise(kept))
            return
        moved = [(copy.pos - pos).norm(dim=1) for copy in copies]
        assert all(((before > 0) <= (later > 0)).all() for before, later in pairwise(moved))  # the same and more
        means = [distance.mean().item() for distance in moved]
        assert means == sorted(means)
        assert means[0] > 0

    @pytest.mark.parametrize("views", [0, 1.5, float("inf"), float("nan")])
    def test_bad_views(self, views):
        with pytest.raises(ValueError, match=f"views must be a whole number, at least 1, got {views}"):
            seen_from_sides(ball(), ball()[:1], views=views)

    def test_a_bad_distance(self):
        with pytest.raises(ValueError, match=r"distance must be more than 1 and finite, got 1\.0"):
            seen_from_sides(ball(), ball()[:1], views=1, distance=1.0)


class TestDetector:
    def test_the_first_row_is_what_evaluate_finds(self, run, found):
        expected = run.evaluate("test", thresholds=(0.05, 0.1))
        first = found["rows"][0]
        assert (first["change"], first["severity"], first["movement"]) == ("none", 0, 0)
        names = ["pck@0.05", "pck@0.1", "mean_error", "pck@0.1/low", "mean_error/high"]
        assert [first[name] for name in names] == pytest.approx([expected["expectation"][name] for name in names])
        assert first["correct"] == pytest.approx(expected["calibration"]["share_correct"])
        assert first["confidence"] == pytest.approx(expected["calibration"]["mean_confidence"])
        assert first["r"] == pytest.approx(expected["calibration"]["pearson"])
        assert first["radius_coverage"] == pytest.approx(expected["radius"]["coverage"])
        assert first["radius"] == pytest.approx(expected["radius"]["mean"])
        assert found["radius_nominal"] == expected["radius"]["nominal"]
        assert (found["num_shapes"], found["seen_in_training"]) == (3, 0)

    def test_no_noise_changes_nothing(self, found):
        clean, still = found["rows"][0], rows_of(found, "noise")[0]
        for name, value in clean.items():
            if name not in ("change", "severity"):
                assert still[name] == pytest.approx(value, abs=1e-5), name
        assert rows_of(found, "noise")[1]["mean_error"] > clean["mean_error"]

    @pytest.mark.parametrize("unit", ["raw", "diagonal"])
    def test_a_row_is_what_comes_of_doing_it_by_hand(self, run, unit):
        run = replace(run, unit=unit)
        row = sweep(run, severities={"noise": (0.01,)}, thresholds=(0.05, 0.1))["rows"][1]
        errors, shares, confidence, radius, moved, right = [], [], [], [], [], []
        dataset = run.dataset("test")
        for number in range(len(dataset)):
            item = dataset[number]
            pos, diagonal, truth = noisy_copy(item, number, 0.01)
            guess = run.predict(Data(pos=pos))
            seen = item.keypoint_visible[0].numpy()
            error = np.linalg.norm(guess.position - truth.numpy(), axis=1)[seen]
            shares.extend(error / diagonal)
            errors.extend(error if unit == "raw" else error / diagonal)
            confidence.extend(guess.confidence[seen])
            radius.extend(guess.radius[seen] / diagonal)
            moved.extend(np.linalg.norm(guess.position - run.predict(item).position, axis=1) / diagonal)
            right.extend((guess.visibility >= 0.5) == seen)
        errors, confidence, correct = np.array(errors), np.array(confidence), np.array(shares) <= 0.02
        assert len(errors) == 11  # one of the three lacks a fourth keypoint
        assert row["pck@0.05"] == pytest.approx((errors <= 0.05).mean())
        assert row["mean_error"] == pytest.approx(errors.mean(), abs=1e-6)
        assert row["correct"] == pytest.approx(correct.mean())
        assert row["confidence"] == pytest.approx(confidence.mean(), abs=1e-6)
        assert row["ece"] == pytest.approx(calibration_error(confidence, correct), abs=1e-5)
        assert row["brier"] == pytest.approx(((confidence - correct) ** 2).mean(), abs=1e-5)
        assert row["radius_coverage"] == pytest.approx((np.array(shares) <= radius).mean())
        assert row["movement"] == pytest.approx(np.mean(moved), abs=1e-6)
        assert row["presence"] == pytest.approx(np.mean(right))

    def test_keypoints_turn_with_the_cloud(self, run):
        class Corner:
            """Finds the true keypoints by the points that they lie on, whatever is done to the cloud."""

            def __getattr__(self, name):
                return getattr(run, name)

            def predict(self, item):
                if "keypoint_pos" in item:
                    self.where = torch.cdist(item.keypoint_pos[0].double(), item.pos.double()).argmin(dim=1)
                return replace(run.predict(item), position=item.pos[self.where].double().numpy())

        rows = sweep(Corner(), severities={"rotation": (90,), "noise": (1e-4,)}, thresholds=(0.001, 0.01))["rows"]
        assert rows[1]["mean_error"] < 1e-6
        assert rows[1]["movement"] < 1e-6
        assert rows[2]["mean_error"] > 1e-6

    def test_a_subset_of_the_changes_gives_the_same_numbers(self, run, found):
        alone = sweep(run, severities={"rotation": (90,)}, thresholds=(0.05, 0.1))
        assert alone["rows"] == [found["rows"][0], *rows_of(found, "rotation")]
        other = sweep(run, severities={"rotation": (90,)}, thresholds=(0.05, 0.1), seed=1)
        assert other["rows"][1]["mean_error"] != alone["rows"][1]["mean_error"]

    def test_density_leaves_fewer_points(self, found):
        assert found["changes"]["density"]["severities"] == [0.25, 0.5, 0.75, 0.9]
        before = found["rows"][0]["points"]
        assert [row["points"] for row in rows_of(found, "density")] == pytest.approx(
            [before * share for share in (0.75, 0.5, 0.25, 0.1)], abs=1
        )

    def test_calibration_error_of_confidence_that_varies(self, run):
        loose = replace(run.calibration, threshold=0.1, knots=(0, 1), probabilities=(0, 1))
        varied = replace(run, calibration=loose)
        row = sweep(varied, severities={"noise": (0.01,)})["rows"][1]
        confidence, correct = [], []
        dataset = run.dataset("test")
        for number in range(len(dataset)):
            item = dataset[number]
            pos, diagonal, truth = noisy_copy(item, number, 0.01)
            guess = varied.predict(Data(pos=pos))
            seen = item.keypoint_visible[0].numpy()
            correct.extend(np.linalg.norm(guess.position - truth.numpy(), axis=1)[seen] <= 0.1 * diagonal)
            confidence.extend(guess.confidence[seen])
        assert np.ptp(confidence) > 0.1
        assert 0 < np.mean(correct) < 1
        assert row["ece"] == pytest.approx(calibration_error(np.array(confidence), np.array(correct)), abs=1e-5)

    def test_a_run_without_calibration_has_no_radius(self, run):
        bare = sweep(replace(run, calibration=None), severities=NOISE, most=1)
        assert bare["radius_nominal"] is None
        assert {row["radius"] for row in bare["rows"]} == {row["radius_coverage"] for row in bare["rows"]} == {None}

    def test_results_are_json_and_progress_is_told(self, run):
        told = []
        result = sweep(run, severities=NOISE, most=2, progress=lambda done, total: told.append((done, total)))
        assert json.loads(json.dumps(result, allow_nan=False)) == result
        assert told == [(n, 6) for n in range(1, 7)]
        assert result["num_shapes"] == 2
        assert (result["kind"], result["unit"], result["run"]) == ("keypoint_detector", "raw", run.folder.name)

    def test_shapes_seen_in_training_are_counted(self, run):
        assert sweep(run, "train", severities=NOISE, most=3)["seen_in_training"] == 3


class TestDiscovery:
    def test_rows_are_alignment_and_movement(self, discovery):
        result = sweep(discovery, "all", severities={"noise": (0.02,)})
        clean, noise = result["rows"]
        expected = discovery.evaluate("all")["das"]
        assert clean["das"] == pytest.approx(expected["das"])
        assert clean["das_corrected"] == pytest.approx(expected["das_corrected"])
        assert clean["collapsed"] == expected["collapsed"]
        assert result["kind"] == "skeleton_merger"

        das, moved = DAS().set_dtype(torch.float64), []
        dataset = discovery.dataset("all")
        for number in range(len(dataset)):
            item = dataset[number]
            pos, diagonal, truth = noisy_copy(item, number, 0.02)
            guess = torch.from_numpy(discovery.predict(Data(pos=pos)).position)
            das.update(guess[None], truth[None], item.keypoint_visible)
            before = torch.from_numpy(discovery.predict(item).position)
            moved.append((guess - before).norm(dim=1).mean().item() / diagonal)
        assert noise["das"] == pytest.approx(das.compute()["das"].item())
        assert noise["movement"] == pytest.approx(np.mean(moved), abs=1e-6)
        assert noise["movement/low"] < noise["movement"] < noise["movement/high"]

    def test_shapes_without_annotations_have_no_alignment(self, discovery):
        guess = discovery.predict(discovery.dataset("all")[0])
        position = torch.from_numpy(guess.position)
        tally = DiscoveryTally()
        nothing = torch.zeros(0, 3, dtype=torch.float64)
        tally.update(Sighting(guess, position, position, nothing, torch.zeros(0, dtype=torch.bool), 1.0))
        values = tally.compute()
        assert not [name for name in values if name.startswith("das")]
        assert (values["movement"], values["movement/low"]) == (0, None)
        assert values["points"] == len(guess.points)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"snow": ()}, "severities must be of noise, outliers, stray, density, view, rotation, got 'snow'"),
        ({}, "severities must name at least one of noise, .*, got none"),
        ({"noise": (-1,)}, "noise: severity -1 is out of range: sigma: expected a finite number of 0 or more, got -1"),
        ({"outliers": (2,)}, "outliers: severity 2 is out of range: share: expected 0 to 1, got 2"),
        ({"stray": (0,)}, "stray: severity 0 is out of range: reach: expected a finite number above 0"),
        ({"density": (0.5, 1)}, "density: severity 1 is out of range: share: expected 0 or more and less than 1"),
        ({"view": (0.5,)}, r"view: severity 0\.5 is out of range: views must be a whole number"),
        ({"rotation": (270,)}, "rotation: severity 270 is out of range: degrees: expected 0 to 180"),
    ],
)
def test_mistakes_are_found_before_anything_is_done(run, changes, message):
    with pytest.raises(ValueError, match=message):
        sweep(run, severities=changes, progress=lambda *_: pytest.fail("began"))


def test_draws_are_of_the_shape_and_the_change_and_not_of_the_severity(run, monkeypatch):
    seeds = {}

    def watched(name, apply):
        def change(pos, keypoints, severity, generator):
            seeds.setdefault(name, []).append(generator.initial_seed())
            return apply(pos, keypoints, severity, generator)

        return change

    for name in ("noise", "density"):
        monkeypatch.setitem(CHANGES, name, CHANGES[name]._replace(apply=watched(name, CHANGES[name].apply)))
    sweep(run, severities={"noise": (0.01, 0.02), "density": (0.5,)}, most=2)
    first, again, second, _ = seeds["noise"][-4:]  # the ones before tried the severities
    assert first == again != second
    assert not set(seeds["noise"][-4:]) & set(seeds["density"][-2:])


def test_no_shapes_is_an_error(run):
    with pytest.raises(ValueError, match="most must be at least 1 and the split must have shapes, got 0 of 3"):
        sweep(run, most=0)


def test_noise_of_the_sweep_is_that_of_the_metric():
    pos = ball()
    copy = CHANGES["noise"].apply(pos, pos, 0.02, generator())
    assert torch.equal(copy.pos, noisy(pos, pos, sigma=0.02, generator=generator()).pos)
