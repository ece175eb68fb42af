import numpy as np
import pytest

from pcsargmax.visualize import pck_curve, training_curves

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


def test_the_logs_of_a_run_folder_are_joined(tmp_path):
    for version, text in {
        0: "step,loss\n1,8\n2,7\n3,6\n",
        2: "step,loss,more\n3,5\n4,4,1\n",
        10: "step,loss\n5,3\n",
    }.items():
        (tmp_path / f"log/version_{version}").mkdir(parents=True)
        (tmp_path / f"log/version_{version}/metrics.csv").write_text(text)
    loss, more = training_curves(tmp_path).axes
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 8], [2, 7], [3, 5], [4, 4], [5, 3]])
    np.testing.assert_array_equal(more.lines[0].get_xydata(), [[4, 1]])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: expected a run folder with log/version_\*/metrics\.csv, found none"):
        training_curves(tmp_path / "empty")


def test_runs_share_panels_and_each_has_a_colour(tmp_path):
    (tmp_path / "a.csv").write_text("step,train/loss,val/loss\n0,3,4\n1,1,2\n")
    (tmp_path / "b.csv").write_text("step,train/loss\n0,5\n1,3\n")
    (ax,) = training_curves({"soft": tmp_path / "a.csv", "sampling": tmp_path / "b.csv"}).axes
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["soft, train/loss", "soft, val/loss", "sampling, train/loss"]
    train, val, other = ax.lines
    assert train.get_color() == val.get_color() == "#0072b2"
    assert other.get_color() == "#e69f00"
    assert train.get_linestyle() == other.get_linestyle() == "-"
    assert val.get_linestyle() == "--"
    with pytest.raises(ValueError, match="csv_path: expected at least one log, got none"):
        training_curves({})


def labels(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def evaluation(errors, unit: str = "raw") -> dict:
    """What is drawn of an evaluation."""
    return {"unit": unit, "shapes": {"errors": {"expectation": errors, "template": [[9.0]]}}}


def test_pck_counts_errors_up_to_the_threshold():
    errors, at = np.array([0.0, 0.1, 0.2, np.nan]), [0.0, 0.1, 0.15, 0.3]
    (line,) = pck_curve(errors, at).axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [100 / 3, 200 / 3, 200 / 3, 100])
    (line,) = pck_curve(errors, at, strict=True).axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [0, 100 / 3, 200 / 3, 100])


def test_pck_agrees_with_the_metric():
    import torch

    from pcsargmax.metrics import PCK

    errors = np.random.default_rng(0).uniform(0, 0.1, (4, 5)).round(2)  # many at a threshold
    metric = PCK((0.02, 0.05))
    metric.set_dtype(torch.float64)
    metric.update_errors(torch.from_numpy(errors))
    found = metric.compute()
    (line,) = pck_curve(errors, [0.02, 0.05]).axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [100 * float(found[f"pck@{t}"]) for t in (0.02, 0.05)])


def test_pck_of_several_methods_has_a_legend(tmp_path):
    errors = {"soft-argmax": np.array([0.02]), "sampling-argmax": np.array([0.01, 0.03])}
    figure = pck_curve(errors, path=tmp_path / "pck.svg")
    assert labels(figure) == ["soft-argmax (n = 1)", "sampling-argmax (n = 2)"]
    assert (tmp_path / "pck.svg").read_text().lstrip().startswith("<?xml")
    first, second = figure.axes[0].lines
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()


def test_runs_of_a_method_are_a_mean_and_a_band():
    runs = [evaluation([[0.1, None], [0.3, 0.3]]), evaluation([[0.1, 0.1]])]
    figure = pck_curve({"soft": runs, "template": np.array([0.3])}, [0.2, 0.4])
    (ax,) = figure.axes
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [(100 / 3 + 100) / 2, 100])
    (band,) = ax.collections
    at_first = [y for x, y in band.get_paths()[0].vertices if x == 0.2]
    np.testing.assert_allclose([min(at_first), max(at_first)], [100 / 3, 100])
    assert labels(figure) == ["soft (2 runs)", "template (n = 1)"]
    assert ax.get_xlabel() == "threshold (raw units)"


def test_tensors_are_runs_as_arrays_are():
    import torch

    runs = [torch.tensor([0.1, 0.3]), torch.tensor([0.1])]
    figure = pck_curve({"soft": runs}, [0.2])
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [75])
    assert labels(figure) == ["soft (2 runs)"]


def test_one_evaluation_needs_no_name():
    result = evaluation([[0.1, 0.3]], "diagonal")
    (ax,) = pck_curve(result, [0.2]).axes
    assert ax.lines[0].get_ydata() == [50]
    assert ax.get_xlabel() == "threshold (diagonals)"
    assert pck_curve(result, unit="mm").axes[0].get_xlabel() == "threshold (mm)"
    assert pck_curve(result, [9], estimate="template").axes[0].lines[0].get_ydata() == [100]


def test_errors_that_cannot_be_drawn_are_named():
    with pytest.raises(ValueError, match="errors 'none': expected at least one number"):
        pck_curve({"none": np.array([np.nan])})
    with pytest.raises(ValueError, match="errors 'a': expected numbers or a result, got str"):
        pck_curve({"a": "metrics.json"})
    with pytest.raises(ValueError, match="errors: expected at least one method, got none"):
        pck_curve({})
    with pytest.raises(
        ValueError, match="errors 'a': expected a result with errors of 'mode', got expectation, template"
    ):
        pck_curve({"a": evaluation([[1.0]])}, estimate="mode")
    for wrong in ([], [0.2, 0.1], [[0.1]]):
        with pytest.raises(ValueError, match="thresholds: expected increasing distances, got"):
            pck_curve(np.array([1.0]), wrong)
    mixed = {"a": evaluation([[1.0]]), "b": evaluation([[1.0]], "diagonal")}
    with pytest.raises(ValueError, match="results: expected errors in one unit, got raw of a, diagonal of b"):
        pck_curve(mixed)


def test_raw_units_are_those_of_the_files_where_known():
    result = evaluation([[0.1, 0.3]]) | {"lengths": {"unit": "mm"}}
    assert pck_curve(result, [0.2]).axes[0].get_xlabel() == "threshold (mm)"
    assert pck_curve([0.1, 0.3], [0.2]).axes[0].get_xlabel() == "threshold (file units)"
    other = evaluation([[0.1, 0.3]], "diagonal") | {"lengths": {"unit": "mm"}}
    assert pck_curve(other, [0.2]).axes[0].get_xlabel() == "threshold (diagonals)"
