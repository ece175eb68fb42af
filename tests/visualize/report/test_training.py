import pytest

from pcsargmax.visualize.report.training import read_logs, training_charts


def trace(chart, name):
    (found,) = [one for one in chart["traces"] if one.get("name") == name]
    return found


def test_training_curves_share_a_panel_by_what_they_measure(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text(
        "epoch,step,train/loss,val/loss,val/pck@0.01,val/pck@0.02\n0,5,40,45,0.1,0.2\n1,9,1,,,\n1,9,,2,0.3,0.4\n"
    )
    loss, pck = training_charts({"": [log]})
    assert [loss["title"], pck["title"]] == ["loss", "pck"]
    assert loss["layout"]["yaxis"]["type"] == "log"
    assert "type" not in pck["layout"]["yaxis"]
    assert trace(loss, "train/loss")["y"] == [40, 1]
    assert trace(pck, "val/pck@0.02")["x"] == [0, 1]
    assert "train/loss from 40 to 1" in loss["alt"]
    both = training_charts({"a": [log], "b": [log]})[0]
    assert {one["name"] for one in both["traces"]} == {
        f"{run}, {part}/loss" for run in "ab" for part in ("train", "val")
    }
    assert training_charts({"": []}) == []


def test_a_training_that_diverged_has_a_chart(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,train/loss,val/pck\n0,2,nan\n1,inf,nan\n2,1,nan\n")
    loss, pck = training_charts({"": [log]})
    assert trace(loss, "train/loss" if len(loss["traces"]) > 1 else loss["traces"][0]["name"])["y"] == [2, None, 1]
    assert "from 2 to 1." in loss["alt"]
    assert "no finite number" in pck["alt"]


def test_a_resumed_run_goes_on_where_it_stopped(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("epoch,step,train/loss\n0,5,4\n1,9,3\n2,13,2.5\n")
    second.write_text("epoch,step,train/loss\n2,13,2\n3,17,1\n")
    assert read_logs([first, second]) == {"train/loss": [(0, 4), (1, 3), (2, 2), (3, 1)]}
    second.write_text("epoch,step,train/loss\n2,13,two\n")
    with pytest.raises(ValueError, match=r"b\.csv:2: expected a number, got 'two'"):
        read_logs([second])
