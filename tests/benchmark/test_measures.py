import math

import pytest
import torch
from reference.benchmark_results import detector_result, discovery_result, write_results

from pcsargmax.benchmark import paper
from pcsargmax.benchmark.groups import open_results
from pcsargmax.benchmark.measures import confidence_measure, corrected_das_measure, das_measure, pck_measure


@pytest.fixture
def results(tmp_path):
    return open_results([write_results(tmp_path, [detector_result(), discovery_result()])])


def test_the_papers_number_of_several_data_is_their_mean():
    measure = pck_measure("expectation")
    assert measure.number("soft", ["mug"]) == 23.9
    assert measure.number("soft", ["mug", "chair"]) == pytest.approx((23.9 + 37.2) / 2)
    assert measure.number("soft", ["mug", "teeth"]) is None
    assert measure.number("closed_form-10", ["mug"]) is None
    # As printed, where the mean of the rounded numbers would be 63.0.
    assert das_measure().number("sampling-1", paper.CATEGORIES) == 62.9


def test_the_paper_stands_beside_its_own_threshold_estimate_and_distance_only():
    assert pck_measure("expectation", 0.01).paper == paper.PCK
    assert pck_measure("expectation", 0.02).paper == {}
    assert pck_measure("snapped").paper == pck_measure("mode").means == {}
    assert pck_measure("expectation", distance="symmetric").paper == {}
    assert "PCK@0.02 of the snapped" in pck_measure("snapped", 0.02).title


def test_confidence_is_measured_at_a_share_of_the_diagonal(results):
    shapes, measure = results[0].metrics["shapes"], confidence_measure("expectation")
    assert "of at most 2% of the diagonal" in measure.title
    of_the_unit = confidence_measure("expectation", 0.02).score([results[0]]).value()
    shapes["diagonal"] = [0.5] * len(shapes["model_id"])
    assert measure.score([results[0]]).value() == confidence_measure("expectation", 0.01).score([results[0]]).value()
    assert measure.score([results[0]]).value() != of_the_unit
    assert confidence_measure("expectation", 0.02).score([results[0]]).value() == of_the_unit
    del shapes["diagonal"]
    with pytest.raises(ValueError, match=r"mug-detector-.*: no diagonal among its shapes: evaluate the run again"):
        measure.score([results[0]])


def test_pck_by_other_distances(results):
    visible = torch.tensor(results[0].metrics["shapes"]["visible"])
    near = torch.full(visible.shape, 0.005).masked_fill(~visible, torch.nan)
    near[0, visible[0].nonzero()[0]] = torch.inf  # no path: wrong, not absent; a file has None for both
    rows = [[x if math.isfinite(x) else None for x in row] for row in near.tolist()]
    results[0].metrics["geodesic"] = {"errors": {"mode": rows}}
    measure = pck_measure("mode", distance="geodesic")
    assert measure.score([results[0]]).value() == pytest.approx(1 - 1 / visible.sum().item())
    assert measure.title == "PCK@0.01 of the mode, geodesic, %"
    with pytest.raises(ValueError, match="estimate must be one of mode for geodesic errors, got 'expectation'"):
        pck_measure("expectation", distance="geodesic").score([results[0]])
    with pytest.raises(ValueError, match=r"mug-detector-.*: no symmetric errors: evaluate the run again"):
        pck_measure("expectation", distance="symmetric").score([results[0]])
    results[0].metrics["symmetric"] = None
    with pytest.raises(ValueError, match="no symmetric errors: its data annotate no symmetries"):
        pck_measure("expectation", distance="symmetric").score([results[0]])
    with pytest.raises(ValueError, match="distance must be one of euclidean, geodesic, symmetric, got 'manhattan'"):
        pck_measure("expectation", distance="manhattan")


@pytest.mark.parametrize("measure", [pck_measure("expectation"), confidence_measure("expectation")])
def test_results_without_the_values_are_named(results, measure):
    del results[0].metrics["shapes"]["errors"]
    with pytest.raises(ValueError, match=r"mug-detector-.*\.json: no errors among its shapes: evaluate the run again"):
        measure.score([results[0]])


def test_labels_that_are_not_there_are_named(results):
    del results[1].metrics["shapes"]["merged_ids"]
    assert 0 < das_measure().score([results[1]]).value() < 1
    with pytest.raises(ValueError, match="no merged_ids among its shapes"):
        corrected_das_measure().score([results[1]])
