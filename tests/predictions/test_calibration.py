import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression

from pcsargmax.core.bases import Gaussian, Uniform
from pcsargmax.core.distribution import KeypointDistribution
from pcsargmax.core.grid import Grid
from pcsargmax.predictions.calibration import Calibration, confidence_measure, conformal_quantile, isotonic
from pcsargmax.predictions.calibration_samples import CalibrationSamples


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def maps():
    """Two ragged clouds of two keypoints, a σ each."""
    mask = torch.arange(30) < torch.tensor([[30], [20]])
    return KeypointDistribution(
        2 * torch.randn(2, 2, 30, generator=seeded()),
        torch.rand(2, 30, 3, generator=seeded(1)),
        mask,
        Gaussian(torch.tensor([0.1, 0.2])),
    )


@pytest.fixture
def fitted():
    return Calibration(
        measure="threshold_mass",
        threshold=0.02,
        knots=(0.1, 0.3, 0.7),
        probabilities=(0.2, 0.2, 0.8),
        form="scaled",
        coverage=0.9,
        quantile=1.5,
        num_keypoints=20,
    )


def samples(n, seed=0):
    """Measures, spreads and errors of n keypoints: errors are |normal| times the spread, as the measure tells."""
    generator = seeded(seed)
    spread = torch.rand(n, generator=generator, dtype=torch.float64) * 0.04 + 0.005
    error = torch.randn(n, generator=generator, dtype=torch.float64).abs() * spread
    return {"measured": 1 / (1 + (spread / 0.02) ** 2), "spread": spread, "error": error}


def test_measures_are_those_of_the_distribution(maps):
    assert torch.equal(confidence_measure(maps, "peak"), maps.peak)
    assert torch.equal(confidence_measure(maps, "entropy"), -maps.entropy)
    assert torch.equal(confidence_measure(maps, "spread"), -maps.spread)
    assert torch.equal(confidence_measure(maps, "threshold_mass", 0.4), maps.mass_within(0.4))
    assert torch.equal(confidence_measure(maps), maps.mass_within(0.02))
    # within 3 σ, which is 0.3 of the one cloud and 0.6 of the other
    expected = torch.stack([maps.mass_within(0.3)[0], maps.mass_within(0.6)[1]])
    torch.testing.assert_close(confidence_measure(maps, "mass"), expected)
    assert confidence_measure(maps, "mass").unique().numel() > 1


def test_a_cell_has_a_width_too():
    grid = KeypointDistribution(torch.randn(1, 1, 9, generator=seeded()), Grid((9,)), basis=Uniform())
    torch.testing.assert_close(confidence_measure(grid, "mass"), grid.mass_within(3 / math.sqrt(12)))


def test_isotonic_regression_by_hand():
    # 1 after 0 is fine; 1 0 0 0 in the midst is pooled to 1/4; equal measures are one, of their mean
    measured = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0, 7.0]).double()
    correct = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]).double()
    knots, shares = isotonic(measured, correct)
    assert knots == (1, 2, 5, 6, 7)
    assert shares == pytest.approx((0, 0.25, 0.25, 0.5, 1))


def test_the_prior_of_isotonic_regression_by_hand():
    # Stretches 0 of 1, 1 of 4, 1 of 2 and 1 of 1 with two more each of the average (3 + 1) / (8 + 2)
    measured = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0, 7.0]).double()
    correct = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]).double()
    knots, shares = isotonic(measured, correct, prior=2.0)
    assert knots == (1, 2, 5, 6, 7)
    assert shares == pytest.approx((0.8 / 3, 1.8 / 6, 1.8 / 6, 1.8 / 4, 1.8 / 3))
    # A small stretch held at more than the large one after it shares with it.
    measured = torch.arange(21.0).double()
    correct = torch.zeros(21).double()
    correct[[1, 20]] = 1
    knots, shares = isotonic(measured, correct, prior=2.0)
    average = 3 / 23
    # 0 of 1, 1 of 19 and 1 of 1
    first, second = 2 * average / 3, (1 + 2 * average) / 21
    assert first > second
    both = (2 * average + 1 + 2 * average) / 24
    assert knots == (0, 19, 20)
    assert shares == pytest.approx((both, both, (1 + 2 * average) / 3))


def test_ties_do_not_depend_on_their_order():
    measured, correct = torch.tensor([1.0, 1.0, 1.0]).double(), torch.tensor([1.0, 0.0, 0.0]).double()
    assert isotonic(measured, correct) == isotonic(measured, correct.flip(0)) == ((1.0,), (pytest.approx(1 / 3),))


@pytest.mark.parametrize("steps", [7, 1000])
def test_isotonic_regression_is_that_of_scikit_learn(steps):
    measured = (torch.rand(300, generator=seeded(), dtype=torch.float64) * steps).round()  # with ties where few
    correct = (torch.rand(300, generator=seeded(1), dtype=torch.float64) < measured / steps).double()
    knots, shares = isotonic(measured, correct)
    at = np.linspace(0, steps, 77)
    twin = IsotonicRegression(out_of_bounds="clip").fit(measured.numpy(), correct.numpy())
    np.testing.assert_allclose(np.interp(at, knots, shares), twin.predict(at), atol=1e-12)


def test_confidence_is_interpolated_and_stays_beyond_the_ends(fitted):
    found = fitted.confidence(torch.tensor([[-5.0, 0.2], [0.5, 9.0]]))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.tensor([[0.2, 0.2], [0.5, 0.8]]).double())


def test_confidence_keeps_its_word_on_new_keypoints():
    fit, new = Calibration.fit(**samples(4000)), samples(4000, seed=1)
    confidence, correct = fit.confidence(new["measured"]), (new["error"] <= 0.02).double()
    assert (confidence[new["measured"].argsort()].diff() >= 0).all()
    for low, high in ((0, 0.55), (0.55, 0.75), (0.75, 1.01)):
        among = (confidence >= low) & (confidence < high)
        error = math.sqrt(2 * 0.25 / among.sum())  # of both shares, that of the fit and that of the new ones
        assert abs(confidence[among].mean() - correct[among].mean()) < 4 * error
        assert among.sum() > 300


def test_the_conformal_quantile_by_hand():
    scores = torch.tensor([9.0, 1, 8, 2, 7, 3, 6, 4, 5])
    # ⌈10 · 0.9⌉ = 9: the greatest of nine; with eight it takes one more
    assert conformal_quantile(scores, 0.9) == 9
    assert conformal_quantile(scores[:8], 0.9) is None
    assert conformal_quantile(scores, 0.5) == 5
    assert conformal_quantile(scores, 0.51) == 6
    assert conformal_quantile(scores, 0.01) == 1
    # ⌈70 · 0.9⌉ is 63, though 70 times 0.9 is more than that in the last digit of some products
    for n in range(9, 400, 10):
        assert conformal_quantile(torch.arange(1.0, n + 1), 0.9) == round((n + 1) * 0.9)
    assert conformal_quantile(torch.tensor([*range(8), math.inf]), 0.9) is None


@pytest.mark.parametrize("form", ["scaled", "plain"])
def test_the_radius_covers_as_often_as_it_says(form):
    covered = []
    for seed in range(300):
        drawn = samples(59 + 1, seed)
        fit = Calibration.fit(**{name: values[:59] for name, values in drawn.items()}, form=form, coverage=0.8)
        covered.append(float(drawn["error"][59] <= fit.radius(drawn["spread"][59])))
    # ⌈60 · 0.8⌉ = 48 of 60: exactly 0.8 by exchangeability
    assert abs(np.mean(covered) - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 300)


def test_the_radius_by_hand(fitted):
    spread = torch.tensor([0.1, 0.2])
    torch.testing.assert_close(fitted.radius(spread), torch.tensor([0.15, 0.3]).double())
    torch.testing.assert_close(replace(fitted, form="plain").radius(spread), torch.tensor([1.5, 1.5]).double())
    assert replace(fitted, quantile=None).radius(spread) is None
    values = torch.arange(1.0, 10)
    assert Calibration.fit(values, values, values**2).quantile == 9  # the score is the error over the spread
    assert Calibration.fit(values, values, values**2, form="plain").quantile == 81
    assert Calibration.fit(values[:8], values[:8], values[:8]).quantile is None
    assert Calibration.fit(values, values, values**2).num_keypoints == 9


def test_a_map_without_spread_is_no_division_by_zero():
    spread = torch.tensor([0.0] + [1.0] * 9)
    assert Calibration.fit(spread, spread, torch.zeros(10)).quantile == 0
    wrong = Calibration.fit(spread, spread, torch.ones(10), coverage=0.95)
    assert wrong.quantile is None  # ten are too few for 0.95
    # its score is infinite, and the tenth of ten
    assert Calibration.fit(spread, spread, torch.ones(10), coverage=0.9).quantile is None
    assert Calibration.fit(spread, spread, torch.ones(10), coverage=0.8).quantile == 1


def test_right_and_wrong_alone_are_a_constant_short_of_certain():
    values = torch.arange(1.0, 10)
    # nine of nine, and two of the average 10/11
    for error, share in ((0.01, (9 + 20 / 11) / 11), (0.5, (0 + 2 / 11) / 11)):
        fit = Calibration.fit(values, values, torch.full((9,), error))
        assert fit.confidence(torch.tensor([0.0, 5.0, 99.0])).tolist() == pytest.approx([share] * 3)


def test_a_calibration_goes_through_json_bit_for_bit(fitted):
    fit = Calibration.fit(**samples(50))
    for one in (fit, fitted, replace(fitted, quantile=None)):
        assert Calibration.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False))) == one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": "guess"}, "measure: expected one of threshold_mass, mass, peak, entropy, spread, got 'guess'"),
        ({"form": "round"}, "form: expected one of scaled, plain, got 'round'"),
        ({"threshold": 0.0}, "threshold: expected a positive finite number, got 0.0"),
        ({"threshold": "a"}, "threshold: expected a positive finite number, got 'a'"),
        ({"coverage": 1.0}, "coverage: expected a share within (0, 1), got 1.0"),
        ({"knots": (0.1, 0.1, 0.7)}, "knots: expected ascending numbers, at least one"),
        ({"knots": (), "probabilities": ()}, "knots: expected ascending numbers, at least one, got ()"),
        ({"knots": (0.1, math.nan, 0.7)}, "knots: expected a list of finite numbers"),
        ({"knots": 0.1}, "knots: expected a list of finite numbers, got 0.1"),
        ({"probabilities": (0.1, 0.2)}, "probabilities: expected 3, one for each knot, got 2"),
        ({"probabilities": (0.1, 0.2, 1.5)}, "probabilities: expected numbers within [0, 1] that never fall"),
        ({"probabilities": (0.3, 0.2, 0.5)}, "probabilities: expected numbers within [0, 1] that never fall"),
        ({"quantile": math.inf}, "quantile: expected a finite number >= 0 or None, got inf"),
        ({"quantile": -1.0}, "quantile: expected a finite number >= 0 or None, got -1.0"),
        ({"num_keypoints": 0}, "num_keypoints: expected an integer >= 1, got 0"),
        ({"num_keypoints": 2.5}, "num_keypoints: expected an integer >= 1, got 2.5"),
    ],
)
def test_a_wrong_field_is_named(fitted, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Calibration.from_dict(fitted.to_dict() | change)


def test_unknown_and_missing_keys_are_named(fitted):
    values = fitted.to_dict()
    with pytest.raises(ValueError, match="a calibration must have the keys coverage, form"):
        Calibration.from_dict(values | {"more": 1})
    del values["form"]
    with pytest.raises(ValueError, match="a calibration must have the keys"):
        Calibration.from_dict(values)
    with pytest.raises(ValueError, match=re.escape("got []")):
        Calibration.from_dict([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measured": torch.ones(3)}, "measured: expected shape (n,), n the same for all and >= 1, got (3,)"),
        ({"spread": torch.ones(4, 1)}, "spread: expected shape (n,)"),
        ({"error": torch.tensor([1, 2, 3, math.nan])}, "error: expected finite numbers, got nan"),
        ({"form": "round"}, "form: expected one of scaled, plain"),
        ({"threshold": -1.0}, "threshold: expected a positive"),
        ({"coverage": 0.0}, "coverage: expected a share within (0, 1), got 0.0"),
        ({"measure": "guess"}, "measure: expected one of"),
    ],
)
def test_what_cannot_be_fitted_is_named(change, message):
    parts = {"measured": torch.ones(4), "spread": torch.ones(4), "error": torch.ones(4)}
    with pytest.raises(ValueError, match=re.escape(message)):
        Calibration.fit(**(parts | change))
    with pytest.raises(ValueError, match=re.escape("measured: expected shape (n,)")):
        Calibration.fit(*[torch.ones(0)] * 3)


def test_an_unknown_measure_is_named(maps):
    with pytest.raises(ValueError, match="measure: expected one of threshold_mass, mass, peak, entropy, spread, got"):
        confidence_measure(maps, "guess")
    with pytest.raises(ValueError, match="measure: expected one of"):
        CalibrationSamples("guess")
    with pytest.raises(ValueError, match="threshold: expected a positive"):
        CalibrationSamples(threshold=0)


def test_samples_are_those_of_visible_keypoints(maps):
    target = maps.mean + torch.tensor([0.0, 0.3, 0.4])
    visible = torch.tensor([[True, False], [True, True]])
    target[0, 1] = math.nan
    metric = CalibrationSamples("spread", 0.6)
    metric.update(maps, target, visible)
    found = metric.compute()
    assert found.shape == (3, 3)
    torch.testing.assert_close(found[:, 0], -found[:, 1])
    torch.testing.assert_close(found[:, 1].sort().values, maps.spread[visible].sort().values)
    torch.testing.assert_close(found[:, 2], torch.full((3,), 0.5))
    fit = metric.fit(form="plain", coverage=0.75)
    assert fit == Calibration.fit(*found.unbind(-1), measure="spread", threshold=0.6, form="plain", coverage=0.75)
    assert (fit.measure, fit.threshold) == ("spread", 0.6)
    assert fit.probabilities[0] > 0.9
    assert fit.quantile == pytest.approx(0.5)
    metric.reset()
    assert metric.samples == []


def test_the_confidence_of_other_positions_is_the_mass_about_them(maps):
    center = torch.rand(2, 2, 3, generator=seeded(4))
    away = (maps.sites[:, None] - center[:, :, None]).norm(dim=-1)
    mass = torch.where((away <= 0.3) & maps.mask[:, None], maps.probabilities, 0).sum(dim=-1)
    torch.testing.assert_close(confidence_measure(maps, threshold=0.3, center=center), mass)
    within = torch.where(
        (away <= 3 * torch.tensor([0.1, 0.2])[:, None, None]) & maps.mask[:, None], maps.probabilities, 0
    )
    torch.testing.assert_close(confidence_measure(maps, "mass", center=center), within.sum(dim=-1))
    assert not torch.equal(mass, confidence_measure(maps, threshold=0.3))
    for measure in ("threshold_mass", "mass"):
        torch.testing.assert_close(
            confidence_measure(maps, measure, center=maps.mean), confidence_measure(maps, measure)
        )
    for measure in ("peak", "entropy", "spread"):
        assert torch.equal(confidence_measure(maps, measure, center=center), confidence_measure(maps, measure))


def test_samples_may_be_of_what_was_made_of_the_maps(maps):
    target, visible = torch.rand(2, 2, 3, generator=seeded(2)), torch.tensor([[True, False], [True, True]])
    mean = torch.rand(2, 2, 3, generator=seeded(3))
    collected = CalibrationSamples()
    collected.update(maps, target, visible, mean=mean)
    rows = torch.stack([confidence_measure(maps, center=mean), maps.spread, (mean - target).norm(dim=-1)], dim=-1)
    assert torch.equal(collected.compute(), rows[visible].unique(dim=0))


def test_one_keypoint_is_enough_for_a_constant(maps):
    metric = CalibrationSamples()
    metric.update(maps, maps.mean, torch.tensor([[True, False], [False, False]]))
    assert metric.fit().probabilities == pytest.approx(((1 + 2 * 2 / 3) / 3,))
    assert metric.fit().quantile is None


def test_samples_in_batches_and_processes_are_those_of_all(maps):
    target = torch.rand(2, 2, 3, generator=seeded(3))
    visible = torch.ones(2, 2, dtype=torch.bool)
    whole, parts, twice = CalibrationSamples(), CalibrationSamples(), CalibrationSamples()
    whole.update(maps, target, visible)
    for b in (1, 0):
        parts.update(maps[b], target[b : b + 1], visible[b : b + 1])
    parts.update(maps[0], target[:1], ~visible[:1])
    assert whole.compute().shape == (4, 3)
    torch.testing.assert_close(parts.compute(), whole.compute())
    # As after two processes that both went through all of it were gathered: each keypoint counts once.
    for _ in range(2):
        twice.update(maps, target, visible)
    assert torch.equal(twice.compute(), whole.compute())
