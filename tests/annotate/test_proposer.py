import threading
import time

import numpy as np
import pytest

from pcsargmax.annotate import Scan
from pcsargmax.annotate.proposer import Proposer
from pcsargmax.predictions.cloud import Prediction


def predict(path):
    return Prediction(
        name=path.name,
        points=np.zeros((1, 3)),
        keypoint_names=("tip",),
        position=[[1.0, 2, 3]],
        confidence=[0.8],
        covariance=np.zeros((1, 3, 3)),
        visibility=[1.0],
        point_index=[0],
        probability=[[1.0]],
    )


def wait(proposer, scan):
    deadline = time.monotonic() + 120
    while (found := proposer.take(scan)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def test_each_scan_is_predicted_once_in_another_thread(points):
    scan, go, seen = Scan(points), threading.Event(), []

    def slow(path):
        go.wait(120)
        seen.append((path, threading.current_thread()))
        return predict(path)

    proposer = Proposer(slow)
    assert proposer
    assert not proposer.waiting(scan.path)
    proposer.ask(scan.path)
    assert proposer.waiting(scan.path)
    assert proposer.take(scan) is None
    go.set()
    assert wait(proposer, scan)["tip"].confidence == pytest.approx(0.8)
    assert not proposer.waiting(scan.path)
    proposer.ask(scan.path)
    assert proposer.take(scan) is None
    assert [path for path, _ in seen] == [scan.path]
    assert seen[0][1] is not threading.current_thread()
    proposer.close()


def test_a_model_that_fails_says_so_once(points):
    def fail(path):
        raise RuntimeError("out of memory")

    proposer, scan = Proposer(fail), Scan(points)
    proposer.ask(scan.path)
    with pytest.raises(ValueError, match="no proposals: out of memory"):
        wait(proposer, scan)
    assert proposer.take(scan) is None
    proposer.close()


def test_without_a_model_nothing_is_proposed(points):
    proposer, scan = Proposer(None), Scan(points)
    assert not proposer
    proposer.ask(scan.path)
    assert not proposer.waiting(scan.path)
    proposer.close()
