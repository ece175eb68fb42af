import sys

import numpy as np
import pytest

from pcsargmax.visualize import contact_sheet, pck_curve, probability_figure, training_curves
from pcsargmax.visualize.figures import robustness_figure

LOG = """epoch,step,lr-Adam,train/loss,val/error,val/pck@0.01,val/pck@0.02
0,9,0.001,0.5,,,
0,9,,,0.04,0.1,0.3
1,19,0.0005,0.25,,,
1,19,,,0.02,0.2,0.5
"""


def test_curves_hold_the_numbers_of_the_log(tmp_path):
    (tmp_path / "metrics.csv").write_text(LOG)
    figure = training_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    panels = {ax.get_title(): ax for ax in figure.axes}
    assert list(panels) == ["lr-Adam", "loss", "error", "pck"]
    np.testing.assert_array_equal(panels["loss"].lines[0].get_xydata(), [[9, 0.5], [19, 0.25]])
    assert [line.get_label() for line in panels["pck"].lines] == ["val/pck@0.01", "val/pck@0.02"]
    assert panels["pck"].get_xlabel() == "step"
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_train_and_val_share_a_panel(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,train_loss,val_loss\n0,3,4\n1,1,2\n")
    (ax,) = training_curves(tmp_path / "log.csv").axes
    assert ax.get_xlabel() == "epoch"
    assert len(ax.lines) == 2


@pytest.mark.parametrize("text", ["", "epoch,step\n0,1\n"])
def test_a_log_without_numbers_is_an_error(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match=r"log\.csv: expected a CSV log"):
        training_curves(tmp_path / "log.csv")


def test_a_cell_that_is_no_number_is_named_with_its_line(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n0,1\n1,oops\n")
    with pytest.raises(ValueError, match=r"log\.csv:3: expected a number, got 'oops'"):
        training_curves(tmp_path / "log.csv")


def test_pck_counts_errors_strictly_below():
    figure = pck_curve(np.array([0.0, 0.1, 0.2, np.nan]), [0.0, 0.1, 0.15, 0.3])
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [0, 100 / 3, 200 / 3, 100])


def test_pck_of_several_methods_has_a_legend(tmp_path):
    errors = {"soft-argmax": np.array([0.02]), "sampling-argmax": np.array([0.01, 0.03])}
    figure = pck_curve(errors, path=tmp_path / "pck.svg")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "soft-argmax (n = 1)",
        "sampling-argmax (n = 2)",
    ]
    assert (tmp_path / "pck.svg").read_text().lstrip().startswith("<?xml")
    with pytest.raises(ValueError, match="errors 'none': expected at least one number"):
        pck_curve({"none": np.array([np.nan])})


def test_maps_are_compared_from_three_sides(mug, tmp_path):
    figure = probability_figure(
        {"soft": mug(), "sampling": mug(seed=1, origin=1e6)}, keypoint="handle", path=tmp_path / "maps.png"
    )
    views, bars = figure.axes[:6], figure.axes[6:]
    assert [ax.get_ylabel() for ax in views] == ["soft", "", "", "sampling", "", ""]
    assert [bar.get_ylabel() for bar in bars] == ["probability of handle"] * 2
    assert all(len(ax.collections) == 3 for ax in views)  # points, keypoint, truth
    absent = probability_figure({"soft": mug()}, keypoint="spout", log_scale=True)
    assert all(len(ax.collections) == 2 for ax in absent.axes[:3])
    with pytest.raises(ValueError, match="predictions: expected at least one"):
        probability_figure({}, keypoint=0)


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


def test_pictures_are_laid_out_with_captions(tmp_path):
    from PIL import Image

    for name in "abcd":
        Image.new("RGB", (40, 30), "red").save(tmp_path / f"{name}.png")
    figure = contact_sheet({name: tmp_path / f"{name}.png" for name in "abcd"}, columns=3, path=tmp_path / "sheet.png")
    assert [ax.get_title() for ax in figure.axes] == list("abcd")
    with pytest.raises(ValueError, match="pictures: expected at least one"):
        contact_sheet({})


def test_no_figure_stays_in_global_state(mug):
    probability_figure({"soft": mug()}, keypoint=0)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []
