import json
from itertools import pairwise

import pytest
import torch
from fixtures.shapes import everywhere, random_covariances, truly_similar

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.core.bases import Gaussian
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.models.second_look import DensePoints
from pcsargmax.models.shape_noise import with_noise
from pcsargmax.models.shape_prior import ShapePrior
from pcsargmax.models.template import Template
from pcsargmax.ops.neighbors import farthest_point_order
from pcsargmax.runs.stages import (
    PriorUse,
    Stage,
    View,
    locate,
    look_stage,
    map_stage,
    measure_of,
    prior_stage,
    template_stage,
    view_of,
)

K = 5
SIGMA = torch.tensor([0.02, 0.03])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(look_points: int) -> KeypointDetector:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        places = torch.rand(K, 3)  # without which the maps of all keypoints would lie in the middle
        made = KeypointDetector(K, "light", template_start=places, look_points=look_points).eval()
        if made.second_look is not None:  # as after some training: what it finds depends on where it looks
            with torch.no_grad():
                for weight in made.second_look.parameters():
                    weight += 0.2 * torch.randn(weight.shape)
        return made


@pytest.fixture(scope="module")
def detector() -> KeypointDetector:
    return built(10)


@pytest.fixture(scope="module")
def view(detector):
    """Make views of the same two clouds of 60 and 40 points, with 90 dense ones each; a sample for each seed."""

    @torch.no_grad()
    def make(seed: int = 0, *, dense: bool = True) -> View:
        pos = [torch.rand(count, 3, generator=seeded(seed + count)) / 2 for count in (60, 40)]
        pos = [points[farthest_point_order(points)] for points in pos]
        scores = detector(torch.cat(pos), batch=torch.tensor([0] * 60 + [1] * 40))
        points = torch.rand(2, 90, 3, generator=seeded(seed + 1)) / 2
        nearest = torch.cdist(points, scores.sites).masked_fill(~scores.mask[:, None], torch.inf).argmin(dim=2)
        return view_of(scores, SIGMA, DensePoints(points, nearest) if dense else None)

    return make


@pytest.fixture(scope="module")
def use() -> PriorUse:
    shapes = truly_similar(12, num_keypoints=K) / 40
    prior = ShapePrior.fit(shapes, everywhere(shapes))
    return PriorUse(prior=prior, map_noise=torch.full((K,), 0.1).double(), look_noise=torch.linspace(0.01, 0.05, K))


def assert_equal(found: Stage, expected: Stage) -> None:
    assert found.name == expected.name
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.covariance, expected.covariance)


def test_the_first_stage_is_that_of_the_maps(view):
    seen = view()
    stage = map_stage([seen])
    maps = KeypointDistribution(seen.scores.logits, seen.scores.sites, seen.scores.mask, Gaussian(SIGMA))
    assert torch.equal(stage.mean, maps.mean)
    assert torch.equal(stage.covariance, maps.covariance)
    torch.testing.assert_close(stage.mean, soft_argmax(seen.scores.logits, seen.scores.sites, mask=seen.scores.mask))
    torch.testing.assert_close(seen.maps.presence, seen.scores.presence.sigmoid())


def test_several_views_are_one_mixture(view):
    views = [view(seed) for seed in range(3)]
    stage, parts = map_stage(views), [map_stage([one]) for one in views]
    mean = sum(part.mean for part in parts) / 3
    # E[x xᵀ] − E[x] E[x]ᵀ, of the mixture as a whole.
    squares = sum(part.covariance + part.mean[..., None] * part.mean[..., None, :] for part in parts) / 3
    torch.testing.assert_close(stage.mean, mean)
    torch.testing.assert_close(stage.covariance, squares - mean[..., None] * mean[..., None, :], atol=1e-6, rtol=1e-4)
    between = stage.covariance - sum(part.covariance for part in parts) / 3
    assert between.diagonal(dim1=-2, dim2=-1).sum() > 1e-6
    assert_equal(map_stage([views[0]] * 4), parts[0])


def looked(detector: KeypointDetector, seen: View, center: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of each cloud and keypoint by itself."""
    scores = detector.look_again(seen.scores, center, seen.dense)
    means, covariances = torch.empty(2, K, 3), torch.empty(2, K, 3, 3)
    for b in range(2):
        count = int(seen.scores.mask[b].sum())
        width = SIGMA[b] * (1 if seen.dense is None else (count / 90) ** 0.5)
        for k in range(K):
            mask = None if scores.mask is None else scores.mask[b, k][None]
            maps = KeypointDistribution(
                scores.logits[b, k][None, None], scores.sites[b, k][None], mask, Gaussian(width)
            )
            means[b, k] = maps.mean[0, 0] + scores.offset[b, k]
            covariances[b, k] = maps.covariance[0, 0]
    return means, covariances


@pytest.mark.parametrize("dense", [True, False])
def test_the_second_look_is_taken_twice(detector, view, dense):
    seen = view(dense=dense)
    center = torch.rand(2, K, 3, generator=seeded(5)) / 2
    with torch.no_grad():
        stage = look_stage(detector, [seen], center.double())
        once, _ = looked(detector, seen, center)
        mean, covariance = looked(detector, seen, once)
    assert_equal(stage, Stage("look", mean, covariance))
    assert (mean - once).norm(dim=-1).max() > 1e-4


def test_a_second_look_at_several_views_goes_on_from_their_mean(detector, view):
    views = [view(seed) for seed in range(2)]
    center = torch.rand(2, K, 3, generator=seeded(5)) / 2
    with torch.no_grad():
        stage = look_stage(detector, views, center)
        once = sum(looked(detector, one, center)[0] for one in views) / 2
        found = [looked(detector, one, once) for one in views]
    mean = (found[0][0] + found[1][0]) / 2
    half = (found[0][0] - found[1][0]) / 2
    covariance = (found[0][1] + found[1][1]) / 2 + half[..., None] * half[..., None, :]
    assert_equal(stage, Stage("look", mean, covariance))


def measured_stage() -> Stage:
    shapes = truly_similar(3, num_keypoints=K, seed=7) / 40
    mean = shapes + 0.02 * torch.randn(3, K, 3, generator=seeded(1))
    return Stage("map", mean.float(), random_covariances(3, K, 3, scale=1e-4).float())


def test_the_prior_is_its_posterior_with_noise(use):
    before = measured_stage()
    measured = torch.tensor([[True] * K, [True, True, True, False, True], [True, True, True, False, False]])
    for given in (None, measured):
        stage = prior_stage(use.prior, use.map_noise, before, given)
        direct = use.prior.posterior(before.mean, with_noise(before.covariance, use.map_noise), given)
        assert_equal(stage, Stage("prior", direct.mean.float(), direct.covariance.float()))
        assert (stage.mean.dtype, stage.covariance.dtype) == (torch.float32, torch.float32)
    assert (stage.mean[1:, 3] - before.mean[1:, 3]).norm(dim=-1).min() > 1e-3


def test_what_is_undetermined_stays_where_it_was(use):
    before = measured_stage()
    measured = torch.tensor([[True, True, False, False, False], [False] * K, [True] * K])
    stage = prior_stage(use.prior, use.map_noise, before, measured)
    assert torch.equal(stage.mean[0, 2:], before.mean[0, 2:])
    assert torch.equal(stage.covariance[0, 2:], before.covariance[0, 2:])
    assert torch.equal(stage.mean[1], before.mean[1])
    assert torch.equal(stage.covariance[1], before.covariance[1])
    alone = prior_stage(use.prior, use.map_noise, Stage("map", before.mean[2:], before.covariance[2:]))
    torch.testing.assert_close(stage.mean[2:], alone.mean)
    assert not torch.allclose(alone.mean, before.mean[2:], atol=1e-4)


def test_a_keypoint_that_no_shape_has_stays_where_it_was():
    shapes = truly_similar(12, num_keypoints=K) / 40
    visible = everywhere(shapes)
    visible[:, 2] = False
    prior, before = ShapePrior.fit(shapes, visible), measured_stage()
    for measured in (None, torch.ones(3, K, dtype=torch.bool).index_fill(1, torch.tensor([2]), False)):
        stage = prior_stage(prior, torch.full((K,), 0.1), before, measured)
        torch.testing.assert_close(stage.mean[:, 2], before.mean[:, 2])
        assert stage.covariance.isfinite().all()


#: Which noise there is, and the names of the stages without and with a second look.
STAGES = [
    ((), ["map"], ["map", "look"]),
    (("map_noise",), ["map", "prior"], ["map", "prior", "look"]),
    (("look_noise",), ["map"], ["map", "look", "prior"]),
    (("map_noise", "look_noise"), ["map", "prior"], ["map", "prior", "look", "prior"]),
]


@pytest.mark.parametrize(("noises", "plain", "twice"), STAGES)
def test_stages_follow_one_another(detector, view, use, noises, plain, twice):
    kept = {name: getattr(use, name) if name in noises else None for name in ("map_noise", "look_noise")}
    used = PriorUse(prior=use.prior, **kept)
    measured = torch.tensor([[True] * K, [True, True, False, True, True]])
    views = [view(0), view(1)]
    with torch.no_grad():
        assert [one.name for one in locate(built(0), views, used, measured)] == plain
        found = locate(detector, views, used, measured)
        expected = [map_stage(views)]
        for name in twice[1:]:
            noise = kept["look_noise" if "look" in [one.name for one in expected] else "map_noise"]
            stage = (
                look_stage(detector, views, expected[-1].mean)
                if name == "look"
                else prior_stage(use.prior, noise, expected[-1], measured)
            )
            expected.append(stage)
    assert [one.name for one in found] == twice
    assert all((a.mean - b.mean).norm(dim=-1).max() > 1e-3 for a, b in pairwise(found))
    for one, direct in zip(found, expected, strict=True):
        assert_equal(one, direct)


def test_without_a_prior_there_is_none(detector, view):
    with torch.no_grad():
        assert [one.name for one in locate(detector, [view()])] == ["map", "look"]


def test_a_stage_goes_to_a_device():
    moved = Stage("map", torch.zeros(1, 1, 3), torch.zeros(1, 1, 3, 3)).to("meta")
    assert (moved.name, moved.mean.device.type, moved.covariance.device.type) == ("map", "meta", "meta")


def test_confidence_after_a_second_look_is_by_the_spread_of_the_first():
    assert measure_of(built(0)) == "threshold_mass"
    assert measure_of(built(10)) == "spread"


def test_the_use_of_a_prior_comes_back_from_json(use):
    for used in (use, PriorUse(prior=use.prior, map_noise=None, look_noise=use.map_noise)):
        again = PriorUse.from_dict(json.loads(json.dumps(used.to_dict(), allow_nan=False)))
        for name in ("mean", "covariance", "num_seen"):
            assert torch.equal(getattr(again.prior, name), getattr(used.prior, name))
        for name in ("map_noise", "look_noise"):
            kept, before = getattr(again, name), getattr(used, name)
            assert (kept is None) == (before is None)
            assert kept is None or (kept.dtype == torch.float64 and torch.equal(kept, before.double()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("look_noise"), r"must have the keys prior, map_noise and look_noise, got \['map_n"),
        (lambda values: values.update(map_noise=[0.1]), "map_noise: expected 5 finite numbers of at least 0, .* got"),
        (lambda values: values.update(look_noise=[-0.1] * K), "look_noise: expected 5 finite numbers of at least 0"),
        (lambda values: values.update(look_noise=[float("nan")] * K), "look_noise: expected 5 finite numbers"),
        (lambda values: values["prior"].pop("mean"), "a shape prior must have the keys mean"),
    ],
)
def test_a_damaged_use_of_a_prior_is_named(use, change, message):
    values = use.to_dict()
    change(values)
    with pytest.raises(ValueError, match=message):
        PriorUse.from_dict(values)


def test_the_template_stage_is_the_template_with_the_deviation_of_its_errors():
    template = Template(torch.tensor([[0.5, 0.5, 1.0]]).double(), torch.tensor([4]))
    cloud = torch.tensor([[0.0, 0, 0], [2, 4, 6]])
    stage = template_stage(template, torch.tensor([0.1]), [cloud, cloud + 1])
    assert stage.name == "template"
    assert stage.mean.tolist() == [[[1.0, 2.0, 6.0]], [[2.0, 3.0, 7.0]]]
    torch.testing.assert_close(stage.covariance, 0.01 * torch.eye(3).expand(2, 1, 3, 3))
