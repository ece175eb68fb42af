import numpy as np
import pytest

from pcsargmax.visualize import robustness_figure


def sweep_result(kind: str = "keypoint_detector", run: str = "a", worse: float = 0.0, **changes) -> dict:
    """What a sweep gives: clean, two severities of noise, one of views."""
    cells = [("none", 0.0), ("noise", 0.01), ("noise", 0.02), ("view", 1.0)]
    rows = []
    for number, (change, severity) in enumerate(cells):
        share = 0.9 - 0.2 * number - worse
        row = {"change": change, "severity": severity, "movement": 0.01 * number}
        if kind == "keypoint_detector":
            row |= {"pck@0.02": share, "pck@0.02/low": share - 0.1, "pck@0.02/high": share + 0.1}
            row |= {"mean_error": 0.01 * 2**number, "confidence": 0.9, "correct": share, "ece": 0.9 - share}
            row |= {"radius_coverage": share if changes.get("radius_nominal") else None}
        else:
            row |= {"das": share, "das_corrected": share - 0.5}
        rows.append(row)
    told = {
        "noise": {"axis": "sigma", "clean": "0", "severities": [0.01, 0.02]},
        "view": {"axis": "sides", "clean": "all", "severities": [1.0]},
    }
    base = {"kind": kind, "run": run, "unit": "raw", "changes": told, "radius_nominal": None, "rows": rows}
    return base | changes


def test_robustness_is_drawn_by_change_and_measure(tmp_path):
    runs = [sweep_result(radius_nominal=0.9), sweep_result(run="b", worse=0.1, radius_nominal=0.9)]
    figure = robustness_figure({"soft": runs, "sampling": runs[:1]}, path=tmp_path / "robustness.pdf")
    assert len(figure.axes) == 2 * 5
    assert [ax.get_title() for ax in figure.axes[:3]] == ["noise", "view", ""]
    labels = [ax.get_ylabel() for ax in figure.axes[::2]]
    assert labels[:2] == ["PCK@0.02 (%)", "mean error (raw units)"]
    assert labels[4] == "radius holds (%)"
    pck, other = figure.axes[0].lines
    np.testing.assert_allclose(pck.get_ydata(), [85, 65, 45])  # mean of two runs
    np.testing.assert_allclose(other.get_ydata(), [90, 70, 50])
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [85, 25])
    band = figure.axes[0].collections[0].get_paths()[0].get_extents()
    np.testing.assert_allclose([band.ymin, band.ymax], [35, 95])
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "0.01", "0.02"]
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()] == ["all", "1"]
    assert [ax.get_xlabel() for ax in figure.axes[-2:]] == ["sigma", "sides"]
    assert figure.axes[2].get_yscale() == figure.axes[3].get_yscale() == "log"
    figure.canvas.draw()
    ticks = figure.axes[2].yaxis.get_ticklabels(which="both")
    assert {tick.get_text() for tick in ticks} >= {"0.01", "0.02", "0.05", ""}
    assert not any(tick.label1.get_visible() for tick in figure.axes[3].yaxis.get_minor_ticks())
    assert [line.get_linestyle() for line in figure.axes[4].lines] == ["-", "--", "-", "--"]
    assert all(ax.get_ylim() == (0, 101) for ax in figure.axes[:2])
    np.testing.assert_allclose(figure.axes[8].lines[-1].get_ydata(), 90)  # nominal
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["soft (2 runs)", "sampling (1 run)"]
    assert (tmp_path / "robustness.pdf").read_bytes().startswith(b"%PDF")


def test_robustness_leaves_out_what_was_not_measured():
    figure = robustness_figure({"soft": [sweep_result(unit="diagonal")]})
    assert len(figure.axes) == 2 * 4  # no radius
    assert figure.axes[2].get_ylabel() == "mean error (diagonals)"
    mixed = robustness_figure({"soft": [sweep_result(), sweep_result(radius_nominal=0.9)]})
    assert len(mixed.axes) == 2 * 4  # a mean takes all
    one_has = robustness_figure({"soft": [sweep_result()], "sampling": [sweep_result(radius_nominal=0.9)]})
    assert np.isnan(one_has.axes[8].lines[0].get_ydata()).all()
    assert one_has.axes[8].get_ylim() == (0, 101)
    discovery = robustness_figure({"soft": [sweep_result("skeleton_merger")]})
    assert [ax.get_ylabel() for ax in discovery.axes[::2]] == [
        "DAS (%)",
        "DAS above chance (%)",
        "movement (diagonals)",
    ]
    assert discovery.axes[2].get_ylim()[0] == pytest.approx(-20)  # below chance is seen


def test_results_that_do_not_agree_are_an_error():
    one = sweep_result()
    with pytest.raises(ValueError, match="results: expected at least one of each method, got none"):
        robustness_figure({})
    with pytest.raises(ValueError, match="results: expected at least one of each method, got none"):
        robustness_figure({"soft": [one], "sampling": []})
    for other in (sweep_result(unit="diagonal"), sweep_result("skeleton_merger"), sweep_result(changes={})):
        with pytest.raises(ValueError, match="expected one kind, unit and set of changes, b has others"):
            robustness_figure({"soft": [one], "sampling": [other | {"run": "b"}]})
    with pytest.raises(ValueError, match=r"pck: expected one that was measured, got 'pck@0\.5'"):
        robustness_figure({"soft": [one]}, pck="pck@0.5")
