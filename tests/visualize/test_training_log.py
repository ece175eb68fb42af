import pytest

from pcsargmax.visualize.training_log import log_files, measured, read_log


def test_logs_come_in_the_order_of_the_resumptions(tmp_path):
    for number in (10, 2, 0):
        (tmp_path / "log" / f"version_{number}").mkdir(parents=True)
        (tmp_path / "log" / f"version_{number}" / "metrics.csv").touch()
    assert [path.parent.name for path in log_files(tmp_path)] == ["version_0", "version_2", "version_10"]
    assert log_files(tmp_path / "nothing") == ()


def test_a_log_is_counted_by_step_or_as_asked_for(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,step,loss\n0,5,4\n1,9,\n,11,2\n")
    assert read_log(log) == ({"loss": [(5, 4), (11, 2)]}, "step")
    assert read_log(log, "epoch") == ({"loss": [(0, 4)]}, "epoch")
    log.write_text("loss\n4\n2\n")
    assert read_log(log) == ({"loss": [(0, 4), (1, 2)]}, "row")
    assert read_log(log, "epoch") == ({}, "epoch")


def test_a_cell_that_is_no_number_is_named(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text("step,loss\n1,4\n2,four\n")
    with pytest.raises(ValueError, match=r"metrics\.csv:3: expected a number, got 'four'"):
        read_log(log)


@pytest.mark.parametrize(("column", "what"), [("val/pck@0.01", "pck"), ("train/loss_epoch", "loss"), ("val", "val")])
def test_what_a_column_measures(column, what):
    assert measured(column) == what
