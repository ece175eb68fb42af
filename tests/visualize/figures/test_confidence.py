import numpy as np
import pytest
import torch

from pcsargmax.metrics import ConfidenceCalibration, SparsificationError
from pcsargmax.metrics.calibration import reliability_curve as curve_of
from pcsargmax.metrics.sparsification import sparsification_curve as sparse_of
from pcsargmax.runs.evaluation.plain import computed
from pcsargmax.visualize import reliability_curve, sparsification_curve


def evaluation(seed: int = 0, unit: str = "raw", threshold: float = 0.02, symmetry: str = "none") -> dict:
    """What is drawn of an evaluation of 40 shapes with 5 keypoints."""
    generator = torch.Generator().manual_seed(seed)
    confidence = torch.rand(40, 5, generator=generator)
    error = 0.05 * torch.rand(40, 5, generator=generator) * (1.5 - confidence)
    calibration, sparse = ConfidenceCalibration(threshold), SparsificationError()
    calibration.update(confidence, error)
    sparse.update(confidence, error)
    return {
        "unit": unit,
        "calibration": {"symmetry": symmetry, "threshold": threshold, **computed(calibration)},
        "sparsification": {"symmetry": symmetry, **computed(sparse)},
    }


def told(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_reliability_curve_is_that_of_the_evaluation(tmp_path):
    one = evaluation()
    figure = reliability_curve({"soft": one}, path=tmp_path / "reliability.pdf")
    upper, lower = figure.axes
    line = upper.lines[1]
    np.testing.assert_allclose(line.get_xdata(), one["calibration"]["reliability_confidence"])
    np.testing.assert_allclose(line.get_ydata(), one["calibration"]["reliability_correct"])
    assert told(figure) == [f"soft (ECE {100 * one['calibration']['ece']:.1f} %)"]
    assert upper.get_ylabel() == "share right (error ≤ 2 % of the diagonal)"
    heights = [bar.get_height() for bar in lower.patches]
    np.testing.assert_allclose(heights, np.array(one["calibration"]["reliability_number"]) / 2)  # % of 200
    assert (tmp_path / "reliability.pdf").read_bytes().startswith(b"%PDF")


def test_block_and_curve_are_as_good_as_the_evaluation():
    one = evaluation()
    for given in (one["calibration"], {"threshold": 0.02} | one["calibration"]):
        line = reliability_curve({"soft": given}).axes[0].lines[1]
        np.testing.assert_allclose(line.get_ydata(), one["calibration"]["reliability_correct"])
    confidence, correct = torch.tensor([0.05, 0.15, 0.15, 0.95]), torch.tensor([0, 0, 1, 1])
    figure = reliability_curve({"a": curve_of(confidence, correct)})  # empty bins are left out
    np.testing.assert_allclose(figure.axes[0].lines[1].get_xydata(), [[0.05, 0], [0.15, 0.5], [0.95, 1]], atol=1e-6)
    assert told(figure) == [f"a (ECE {100 * (0.05 + 2 * 0.35 + 0.05) / 4:.1f} %)"]
    assert figure.axes[0].get_ylabel() == "share right"


def test_runs_are_put_together_bin_by_bin():
    first = curve_of(torch.tensor([0.1, 0.1, 0.1]), torch.tensor([1, 1, 1]), num_bins=2)
    second = curve_of(torch.tensor([0.3, 0.9]), torch.tensor([0, 1]), num_bins=2)
    figure = reliability_curve({"soft": [first, second]})
    np.testing.assert_allclose(figure.axes[0].lines[1].get_xydata(), [[0.15, 0.75], [0.9, 1]], atol=1e-6)
    assert told(figure) == [f"soft (ECE {100 * (0.9 + (0.3 + 0.1) / 2) / 2:.1f} %)"]
    assert [bar.get_height() for bar in figure.axes[1].patches] == [80, 20]


def test_bins_of_equal_count_have_no_bars():
    one = evaluation()
    (ax,) = reliability_curve({"soft": one}, bins="count").axes
    np.testing.assert_allclose(ax.lines[1].get_ydata(), one["calibration"]["reliability_correct_equal_count"])
    assert ax.get_xlabel() == "confidence"


def test_methods_differ_in_colour_and_marker():
    upper, lower = reliability_curve({"a": evaluation(), "b": evaluation(1)}).axes
    word, *lines = upper.lines
    assert (word.get_xy1(), word.get_slope()) == ((0, 0), 1)
    assert [round(bar.get_x() + bar.get_width() / 2, 4) for bar in lower.patches[::10]] == [0.0275, 0.0725]  # bin 0
    assert lower.patches[0].get_width() == pytest.approx(0.045)
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 2


def test_the_sparsification_curve_is_that_of_the_evaluation(tmp_path):
    one = evaluation()
    figure = sparsification_curve({"soft": one}, path=tmp_path / "sparsification.svg")
    (ax,) = figure.axes
    by_confidence, oracle, none = ax.lines[:3]
    np.testing.assert_allclose(by_confidence.get_ydata(), one["sparsification"]["error"])
    np.testing.assert_allclose(by_confidence.get_xdata()[[0, -1]], [95, 0])
    np.testing.assert_allclose(oracle.get_ydata(), one["sparsification"]["oracle"])
    assert none.get_ydata()[0] == one["sparsification"]["error"][-1]
    expected = [f"soft (AUSE {one['sparsification']['ause']:#.3g})", "best possible order", "random order"]
    assert told(figure) == expected
    assert ax.get_ylabel() == "mean error (raw units)"


def test_relative_curves_begin_at_one_and_runs_are_averaged():
    runs = [evaluation(), evaluation(1)]
    figure = sparsification_curve({"soft": runs}, relative=True)
    (ax,) = figure.axes
    area = np.mean([run["sparsification"]["ause_relative"] for run in runs])
    assert told(figure)[0] == f"soft (AUSE {area:#.3g})"
    curves = [np.array(run["sparsification"]["error"]) / run["sparsification"]["error"][-1] for run in runs]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.mean(curves, axis=0))
    assert ax.lines[0].get_ydata()[-1] == 1
    assert ax.get_ylabel() == "share of the mean error"
    plain = sparse_of(torch.tensor([0.1, 0.9]), torch.tensor([3.0, 1.0]), num_steps=2)
    figure = sparsification_curve({"a": plain}, unit="mm")
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), [[50, 1], [0, 2]])
    assert told(figure)[0] == "a"
    assert figure.axes[0].get_ylabel() == "mean error (mm)"


def test_large_areas_are_told_as_numbers():
    for area, said in ((12.0, "12.0"), (345.6, "346"), (0.05, "0.0500")):
        curve = {"kept": [0.5, 1], "error": [1, 2], "oracle": [1, 2], "ause": area}
        assert told(sparsification_curve({"a": curve}))[0] == f"a (AUSE {said})"


def test_relative_curves_of_unlike_units_compare():
    named = {"a": evaluation(), "b": evaluation(unit="diagonal")}
    assert sparsification_curve(named, relative=True).axes[0].get_ylabel() == "share of the mean error"
    perfect = sparse_of(torch.tensor([0.5]), torch.tensor([0.0]))
    with pytest.raises(ValueError, match="results 'a': expected a mean error above 0 to divide by, got 0"):
        sparsification_curve({"a": perfect}, relative=True)


def test_errors_up_to_symmetry_are_told_and_not_mixed_with_others():
    one = evaluation(symmetry="reflection")
    said = reliability_curve({"a": one}).axes[0].get_ylabel()
    assert said == "share right (error up to symmetry ≤ 2 % of the diagonal)"
    assert sparsification_curve({"a": one}).axes[0].get_ylabel() == "mean error up to symmetry (raw units)"
    for draw in (reliability_curve, sparsification_curve):
        with pytest.raises(ValueError, match="results: expected errors of one symmetry, got none, reflection"):
            draw({"a": one, "b": evaluation()})


def test_a_curve_is_not_taken_for_the_other():
    confidence = torch.tensor([0.2, 0.8])
    with pytest.raises(ValueError, match="results 'a': expected a result or a calibration curve, got Sparsification"):
        reliability_curve({"a": sparse_of(confidence, confidence)})
    with pytest.raises(ValueError, match="results 'a': expected a result or a sparsification curve, got Reliability"):
        sparsification_curve({"a": curve_of(confidence, torch.tensor([0, 1]))})


def test_results_that_cannot_be_drawn_are_named():
    one = evaluation()
    for draw in (reliability_curve, sparsification_curve):
        with pytest.raises(
            ValueError, match="results: expected the name of at least one method to its result, got none"
        ):
            draw({})
        with pytest.raises(ValueError, match=r"results: .* got list"):
            draw([one])
        with pytest.raises(ValueError, match=r"results 'a': expected a result with a .* curve, got one without '"):
            draw({"a": {"unit": "raw"}})
        with pytest.raises(ValueError, match=r"results 'a': expected a result with .*, got one without any truth"):
            draw({"a": {"calibration": None, "sparsification": None}})
        with pytest.raises(ValueError, match=r"results 'a': expected a result or a .* curve, got str"):
            draw({"a": "metrics.json"})
    with pytest.raises(ValueError, match="bins: expected one of width, count, got 'depth'"):
        reliability_curve({"a": one}, bins="depth")
    with pytest.raises(ValueError, match=r"expected errors of one threshold, got 0\.02, 0\.05"):
        reliability_curve({"a": one, "b": evaluation(threshold=0.05)})
    short = curve_of(torch.tensor([0.5]), torch.tensor([1]), num_bins=5)
    with pytest.raises(ValueError, match=r"results 'a': expected curves of as many bins, got \[10, 5\]"):
        reliability_curve({"a": [one, short]})
    with pytest.raises(ValueError, match="expected errors in one unit, got raw of a, diagonal of b"):
        sparsification_curve({"a": one, "b": evaluation(unit="diagonal")})
    step = sparse_of(torch.tensor([0.5]), torch.tensor([1.0]), num_steps=3)
    with pytest.raises(ValueError, match="results 'a': expected curves of the same steps, got others"):
        sparsification_curve({"a": [one, step]})
