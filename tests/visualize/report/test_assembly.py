import pytest

from pcsargmax.visualize.report.assembly import chosen_shapes, labels_of


def labels(*reports):
    return labels_of(reports, lambda one: {"soft": "soft-argmax"}.get(one.metrics["objective"], "sampling, N_s = 10"))


def test_labels_tell_what_the_runs_differ_in(make_report):
    samples = make_report("a")
    assert labels(samples, make_report("b", objective="soft")) == ["sampling, N_s = 10", "soft-argmax"]
    assert labels(samples, make_report("b")) == ["a", "b"]
    assert labels(samples, samples) == ["a (first)", "a (second)"]


@pytest.mark.parametrize(
    ("count", "low_is_best", "expected"),
    [
        (10, True, [4, 0, 3, 1, 5, 2]),
        (4, True, [4, 0, 1, 2]),
        (1, True, [4]),
        (3, False, [2, 5, 3]),
    ],
)
def test_of_many_shapes_the_worst_and_the_best_are_shown(count, low_is_best, expected):
    scores = [0.5, 0.3, None, 0.4, 0.9, 0.1]
    if not low_is_best:
        scores = [0.5, 0.6, 0.1, 0.9, 0.8, 0.3]
    assert chosen_shapes(scores, count, low_is_best=low_is_best) == expected
