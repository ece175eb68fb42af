import subprocess
import sys

import pytest
import torch
from reference import alignment as plain

from pcsargmax.metrics import DAS
from pcsargmax.metrics.alignment import corrected_das_from_labels, das_from_labels, nearest_labels
from pcsargmax.metrics.bootstrap import resample_weights

NAN = float("nan")


def random_models(num_models=9, num_keypoints=6, num_ids=5, seed=0):
    """Keypoints near to the annotations of a common shape, so that there is some agreement."""
    generator = torch.Generator().manual_seed(seed)
    shape = torch.rand(num_ids, 3, generator=generator, dtype=torch.float64)
    places = torch.rand(num_keypoints, 3, generator=generator, dtype=torch.float64)
    target = shape + 0.1 * torch.randn(num_models, num_ids, 3, generator=generator, dtype=torch.float64)
    predicted = places + 0.15 * torch.randn(num_models, num_keypoints, 3, generator=generator, dtype=torch.float64)
    visible = torch.rand(num_models, num_ids, generator=generator) < 0.7
    visible[:, 0] = True
    return predicted, target, visible


def exact(**settings):
    return DAS(**settings).set_dtype(torch.float64)


def as_rows(labels):
    return [[None if label < 0 else label for label in row] for row in labels.tolist()]


def test_labels_by_hand():
    predicted = torch.tensor([[[0.0, 0, 0], [1.1, 0, 0], [5, 0, 0]], [[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]])
    target = torch.tensor([[[0.2, 0, 0], [1, 0, 0], [4, 0, 0]], [[0.0, 0, 0], [0, 0, 0], [0, 0, 0]]])
    visible = torch.tensor([[True, False, True], [False, False, False]])
    nearest = nearest_labels(predicted, target, visible)
    assert nearest.ids.tolist() == [[0, 0, 2], [-1, -1, -1]]
    assert nearest.keypoints.tolist() == [[0, -1, 2], [-1, -1, -1]]


def test_das_by_hand():
    # Keypoint 0 takes ids 0, 0, 1 and keypoint 1 takes 1, 1, 1: 5 of 9 and 9 of 9 pairs agree.
    # Id 0 (models 0, 1) takes keypoints 0, 0; id 1 (all) takes 1, 1, 1: all pairs agree.
    target = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]]).expand(3, -1, -1)
    predicted = torch.tensor([[[0.1, 0, 0], [0.9, 0, 0]], [[0.0, 0, 0], [1, 0, 0]], [[0.3, 0, 0], [1, 0, 0]]])
    visible = torch.tensor([[True, True], [True, True], [False, True]])
    result = exact()(predicted, target, visible)
    assert result["das_forward"].item() == pytest.approx((5 / 9 + 1) / 2)
    assert result["das_backward"].item() == 1
    assert result["das"].item() == pytest.approx(((5 / 9 + 1) / 2 + 1) / 2)
    result = exact(self_pairs=False)(predicted, target, visible)
    assert result["das_forward"].item() == pytest.approx((2 / 6 + 1) / 2)  # models 0 and 1, both ways
    # Models 0 and 1 have each id once, model 2 has id 1 only: any order agrees with ½ on all three pairs.
    assert result["das_corrected_forward"].item() == pytest.approx(((2 / 6 + 1) / 2 - 0.5) / (1 - 0.5))
    assert result["das_corrected_backward"].item() == 1
    assert result["min_distance"].item() == pytest.approx((0.8 + 1 + 0.7) / 3)
    assert result["min_distance_worst"].item() == pytest.approx(0.7)
    assert result["annotation_spacing"].item() == 1
    assert not result["collapsed"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("self_pairs", [True, False])
def test_counts_equal_the_loop_over_pairs(seed, self_pairs):
    predicted, target, visible = random_models(seed=seed)
    result = exact(self_pairs=self_pairs, resolution=0)(predicted, target, visible)
    forward, backward = plain.labels(predicted, target, visible)
    assert result["das_forward"].item() == pytest.approx(plain.agreement(forward, self_pairs), abs=1e-12)
    assert result["das_backward"].item() == pytest.approx(plain.agreement(backward, self_pairs), abs=1e-12)
    assert result["das_corrected_forward"].item() == pytest.approx(plain.kappa(forward), abs=1e-12)
    assert result["das_corrected_backward"].item() == pytest.approx(plain.kappa(backward), abs=1e-12)
    assert 0.1 < result["das_corrected"] < 0.9
    for name in ("das", "das_corrected"):
        assert result[name] == (result[f"{name}_forward"] + result[f"{name}_backward"]) / 2


def test_the_corrected_score_does_not_depend_on_the_protocol():
    models = random_models()
    with_self, without = exact()(*models), exact(self_pairs=False)(*models)
    assert with_self["das"] > without["das"]
    assert with_self["das_corrected"] == without["das_corrected"]
    assert exact().protocol == "skeleton-merger"
    assert exact(self_pairs=False).protocol == "without self-pairs"


def scores(result):
    return [result[f"das_corrected{direction}"].item() for direction in ("_forward", "_backward", "")]


class TestPredictors:
    """A collapsed, a random and a perfect predictor, on models of which some lack annotations."""

    @pytest.fixture
    def annotated(self):
        generator = torch.Generator().manual_seed(3)
        shape = 2 * torch.rand(8, 3, generator=generator, dtype=torch.float64) - 1
        target = shape + 0.03 * torch.randn(60, 8, 3, generator=generator, dtype=torch.float64)
        visible = torch.rand(60, 8, generator=generator) < 0.8
        return target, visible, generator

    def test_collapsed(self, annotated):
        target, visible, generator = annotated
        one_place = 0.2 * torch.randn(60, 1, 3, generator=generator, dtype=torch.float64)
        result = exact()(one_place.expand(-1, 10, -1), target, visible)
        assert result["das"] > 0.5
        assert scores(result) == pytest.approx([0, 0, 0], abs=1e-12)
        assert result["collapsed"]
        assert result["min_distance"] == 0

    def test_collapsed_but_for_tiny_offsets_alike_on_all_models(self, annotated):
        target, visible, generator = annotated
        one_place = 0.1 * torch.randn(60, 1, 3, generator=generator, dtype=torch.float64)
        offsets = 1e-3 * torch.randn(1, 10, 3, generator=generator, dtype=torch.float64)
        result = exact()(one_place + offsets, target, visible)
        assert result["das_backward"] > 0.6  # each annotation goes to the keypoint that is outermost towards it
        assert scores(result) == pytest.approx([0, 0, 0], abs=1e-12)
        assert result["collapsed"]
        assert scores(exact(resolution=0)(one_place + offsets, target, visible))[1] > 0.5
        assert not exact(resolution=0)(one_place + offsets, target, visible)["collapsed"]

    def test_random(self, annotated):
        target, visible, generator = annotated
        predicted = 2 * torch.rand(60, 10, 3, generator=generator, dtype=torch.float64) - 1
        result = exact()(predicted, target, visible)
        assert scores(result) == pytest.approx([0, 0, 0], abs=0.03)
        assert not result["collapsed"]

    def test_perfect(self, annotated):
        target, _, _ = annotated
        result = exact()(target, target, torch.ones(60, 8, dtype=torch.bool))
        assert result["das"] == 1
        assert scores(result) == pytest.approx([1, 1, 1], abs=1e-12)
        assert not result["collapsed"]

    def test_a_collapsed_pair_is_called_so_and_costs_no_agreement(self, annotated):
        target, _, _ = annotated
        predicted = target.clone()
        predicted[:, 7] = predicted[:, 2] + 1e-3
        result = exact()(predicted, target, torch.ones(60, 8, dtype=torch.bool))
        assert result["collapsed"]
        assert result["das_corrected"] > 0.7


class TestMugs:
    @pytest.fixture
    def mugs(self, shared_data):
        from pcsargmax.datasets.keypointnet_files import read_category

        annotated = read_category(shared_data / "keypointnet", "mug")
        target = torch.zeros(len(annotated.models), 11, 3, dtype=torch.float64)
        visible = torch.zeros(target.shape[:2], dtype=torch.bool)
        for row, model in enumerate(annotated.models.values()):
            for keypoint in model.keypoints:
                target[row, keypoint.semantic_id] = torch.tensor(keypoint.xyz)
                visible[row, keypoint.semantic_id] = True
        return target, visible

    def test_ten_keypoints_in_one_place_score_high_and_correct_to_nothing(self, mugs):
        target, visible = mugs
        generator = torch.Generator().manual_seed(0)
        middle = (target * visible[..., None]).sum(dim=1, keepdim=True) / visible.sum(dim=1)[:, None, None]
        offsets = 1e-4 * torch.randn(1, 10, 3, generator=generator, dtype=torch.float64)
        result = exact()(middle + offsets, target, visible)
        assert result["das"] > 0.6
        assert scores(result) == pytest.approx([0, 0, 0], abs=1e-12)
        assert result["collapsed"]

    def test_random_points_and_the_annotations_themselves(self, mugs):
        target, visible = mugs
        generator = torch.Generator().manual_seed(0)
        order = torch.rand(len(target), 10, generator=generator).argsort(dim=1)
        shuffled = target.gather(1, order[..., None].expand(-1, -1, 3))
        assert scores(exact()(shuffled, target, visible)) == pytest.approx([0, 0, 0], abs=0.02)
        result = exact()(target[:, :10], target[:, :10], visible[:, :10])
        assert scores(result) == pytest.approx([1, 1, 1], abs=1e-12)
        assert result["num_models"] == len(target) > 100
        assert not result["collapsed"]


class TestLabels:
    def test_they_give_the_scores_again(self):
        metric = exact(self_pairs=False, num_bootstrap=0)
        result = metric(*random_models())
        labels = metric.labels
        again = das_from_labels(labels.ids, labels.keypoints, None, False)
        again |= corrected_das_from_labels(labels.merged_ids, labels.merged_keypoints)
        for name, value in again.items():
            torch.testing.assert_close(result[name], value)
        assert (labels.ids.shape, labels.keypoints.shape) == ((9, 6), (9, 5))

    def test_a_row_of_weights_is_a_value(self):
        metric = exact()
        metric.update(*random_models())
        labels, weights = metric.labels, resample_weights(9, 7)
        for function in (das_from_labels, corrected_das_from_labels):
            many = function(labels.ids, labels.keypoints, weights)
            for name, values in many.items():
                assert values.shape == (7,)
                one = function(labels.ids, labels.keypoints, weights[4])[name]
                assert values[4].item() == pytest.approx(one.item())

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match=r"must be \(M, K\) and \(M, G\), got \(2, 3\) and \(3, 4\)"):
            das_from_labels(torch.zeros(2, 3).long(), torch.zeros(3, 4).long())
        with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2,\)"):
            corrected_das_from_labels(torch.zeros(2, 3).long(), torch.zeros(2).long())


class TestIntervals:
    @pytest.mark.parametrize("self_pairs", [True, False])
    def test_they_are_those_of_models_drawn_again(self, self_pairs):
        predicted, target, visible = random_models()
        metric = exact(self_pairs=self_pairs, resolution=0, num_bootstrap=30, seed=4)
        result = metric(predicted, target, visible)
        forward, backward = plain.labels(predicted, target, visible)
        replicates = []
        for counts in resample_weights(9, 30, seed=4).long().tolist():
            origin = [m for m, count in enumerate(counts) for _ in range(count)]
            parts = [plain.agreement([rows[m] for m in origin], self_pairs, origin) for rows in (forward, backward)]
            replicates.append(sum(parts) / 2)
        low, high = torch.tensor(replicates).double().quantile(torch.tensor([0.025, 0.975]).double())
        assert result["das/low"].item() == pytest.approx(low.item())
        assert result["das/high"].item() == pytest.approx(high.item())

    def test_they_hold_the_figure(self):
        result = exact()(*random_models(num_models=40))
        for name in ("das", "das_forward", "das_backward", "das_corrected", "das_corrected_forward"):
            assert result[f"{name}/low"] < result[name] < result[f"{name}/high"]

    def test_more_models_narrow_them(self):
        few, many = (exact()(*random_models(num_models=m)) for m in (10, 160))
        assert few["das/high"] - few["das/low"] > 2 * (many["das/high"] - many["das/low"])

    def test_the_seed_repeats_them_and_they_can_be_left_out(self):
        models = random_models()
        first, again, other = (exact(seed=seed)(*models) for seed in (1, 1, 2))
        assert first == again
        assert first["das/low"] != other["das/low"]
        assert not any("/" in name for name in exact(num_bootstrap=0)(*models))
        with pytest.raises(ValueError, match="num_bootstrap must not be negative, got -2"):
            DAS(num_bootstrap=-2)

    def test_one_model_has_none(self):
        assert exact()(*random_models(num_models=1))["das/low"].isnan()


def test_annotations_in_one_place_do_not_hide_a_collapse():
    _, target, visible = random_models(num_ids=8)
    target[:, 3] = target[:, 2]
    offsets = 1e-4 * torch.randn(1, 10, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = exact()(target[:, :1] + offsets, target, visible)
    assert scores(result) == pytest.approx([0, 0, 0], abs=1e-12)
    assert result["collapsed"]


def test_batches_order_and_padding_ids_do_not_matter():
    predicted, target, visible = random_models()
    whole, parts = exact(num_bootstrap=0), exact(num_bootstrap=0)
    whole.update(predicted, target, visible)
    more = torch.nn.functional.pad(target, (0, 0, 0, 2), value=NAN)
    for i in (4, 0, 3, 8, 1, 2, 7, 5, 6):
        one = slice(i, i + 1)
        parts.update(predicted[one], more[one], torch.nn.functional.pad(visible[one], (0, 2)))
    for name, value in whole.compute().items():
        torch.testing.assert_close(parts.compute()[name], value)


def test_a_shift_and_a_scale_change_no_score():
    predicted, target, visible = random_models()
    near, far = exact()(predicted, target, visible), exact()(2 * predicted + 100, 2 * target + 100, visible)
    for name in near:
        factor = 2 if "distance" in name or "spacing" in name else 1
        assert far[name].item() == pytest.approx(factor * near[name].item())


def test_models_without_annotation_are_counted_and_left_out():
    predicted, target, visible = random_models()
    expected = exact()(predicted, target, visible)
    nothing = torch.zeros(2, 5, dtype=torch.bool)
    result = exact()(
        torch.cat([predicted, predicted[:2]]),
        torch.cat([target, torch.full((2, 5, 3), NAN, dtype=torch.float64)]),
        torch.cat([visible, nothing]),
    )
    assert (expected.pop("num_unannotated"), result.pop("num_unannotated")) == (0, 2)
    assert result == expected
    metric = DAS()
    metric.update(predicted[:2], target[:2], nothing)
    with pytest.raises(ValueError, match="at least one annotated model, got none in 2 models"):
        metric.compute()


def test_one_model_agrees_with_itself_and_corrects_to_nan():
    models = random_models(num_models=1)
    result = DAS()(*models)
    assert result["das"] == 1
    assert result["das_corrected"].isnan()
    assert DAS(self_pairs=False)(*models)["das"].isnan()


def test_one_keypoint_has_no_distance_and_is_not_called_collapsed():
    predicted, target, visible = random_models(num_keypoints=1)
    result = DAS()(predicted, target, visible)
    assert result["min_distance"].isnan()
    assert result["das_corrected_backward"] == 0
    assert not result["collapsed"]


def test_float32_states_keep_the_labels():
    models = random_models(num_keypoints=32)
    single, double = DAS()(*models), exact()(*models)
    assert single["das"].dtype == torch.float32
    for name in double:
        assert single[name].item() == pytest.approx(double[name].item(), rel=1e-6)


def test_an_empty_batch_changes_nothing():
    predicted, target, visible = random_models()
    metric, expected = DAS(), DAS()(predicted, target, visible)
    for some in (slice(0, 0), slice(None), slice(0, 0)):
        metric.update(predicted[some], target[some], visible[some])
    assert metric.compute() == expected


def test_reset_forgets_the_sizes():
    metric = DAS()
    metric.update(*random_models(num_keypoints=6))
    with pytest.raises(ValueError, match="must have 6 keypoints and 5 ids as before, got 4 and 5"):
        metric.update(*random_models(num_keypoints=4))
    metric.reset()
    metric.update(*random_models(num_keypoints=4))
    assert metric.compute()["num_models"] == 9


PROCESS = """
import datetime, sys, torch
from pcsargmax.metrics import DAS, Coverage, Repeatability
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group(
    "gloo", init_method="file://" + store, rank=rank, world_size=2, timeout=datetime.timedelta(seconds=60)
)
predicted, target, visible = torch.load(sys.argv[3])
mine = slice(0, 6) if rank == 0 else slice(6, 9)
uneven, empty, cover, repeat = DAS(), DAS(), Coverage(), Repeatability()
uneven.update(predicted[mine], target[mine], visible[mine])
if rank == 0:
    empty.update(predicted, target, visible)
    cover.update(predicted, target)
    repeat.update(predicted, predicted)
figures = [metric.compute() for metric in (uneven, empty, cover, repeat)]
print(*(f"{float(f['das_corrected']):.5f}" for f in figures[:2]), *(int(f["num_models"]) for f in figures))
torch.distributed.destroy_process_group()
"""


def test_two_processes_give_what_one_gives_even_if_one_has_no_model(tmp_path):
    models = random_models()
    torch.save(models, tmp_path / "models.pt")
    command = [sys.executable, "-c", PROCESS]
    where = [str(tmp_path / "store"), str(tmp_path / "models.pt")]
    processes = [
        subprocess.Popen([*command, str(rank), *where], stdout=subprocess.PIPE, text=True) for rank in range(2)
    ]
    expected = f"{exact()(*models)['das_corrected'].item():.5f}"
    try:
        for process in processes:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            assert output.split() == [expected, expected, "9", "9", "9", "9"]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize(
    ("predicted", "target", "visible", "message"),
    [
        ((2, 3, 3), (1, 4, 3), (1, 4), r"\(B, K, D\) and \(B, G, D\), got \(2, 3, 3\) and \(1, 4, 3\)"),
        ((2, 3, 3), (2, 4, 2), (2, 4), r"got \(2, 3, 3\) and \(2, 4, 2\)"),
        ((2, 0, 3), (2, 4, 3), (2, 4), r"at least one keypoint, got \(2, 0, 3\)"),
        ((2, 3, 3), (2, 0, 3), (2, 0), r"at least one keypoint, got .* \(2, 0, 3\)"),
        ((2, 3, 3), (2, 4, 3), (2, 3), r"visible must be bool of shape \(2, 4\), got .* \(2, 3\)"),
    ],
)
def test_shapes_that_do_not_agree(predicted, target, visible, message):
    with pytest.raises(ValueError, match=message):
        DAS().update(torch.zeros(predicted), torch.zeros(target), torch.ones(visible, dtype=torch.bool))


def test_other_bad_arguments():
    predicted, target, visible = random_models()
    with pytest.raises(ValueError, match=r"visible must be bool .* got torch\.float32"):
        DAS().update(predicted, target, visible.float())
    target[0, 0, 0] = NAN
    with pytest.raises(ValueError, match="target must be finite, got NaN or infinity at 1 keypoints"):
        DAS().update(predicted, target, visible)
    predicted[0, :2] = float("inf")
    with pytest.raises(ValueError, match="preds must be finite, got NaN or infinity at 2 keypoints"):
        DAS().update(predicted, target, visible)
    with pytest.raises(ValueError, match=r"resolution must be at least 0 and less than 1, got -0\.1"):
        DAS(resolution=-0.1)


def test_no_model_is_an_error():
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.raises(ValueError, match="at least one annotated model, got none in 0 models"),
    ):
        DAS().compute()
