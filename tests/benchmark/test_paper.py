from statistics import fmean

import pytest

from pcsargmax.benchmark import paper


@pytest.mark.parametrize(
    ("rows", "means", "columns"),
    [
        (paper.PCK, paper.PCK_MEAN, paper.CATEGORIES),
        (paper.DAS, paper.DAS_MEAN, paper.CATEGORIES),
    ],
    ids=["pck", "das"],
)
def test_the_mean_of_each_row_is_the_printed_one(rows, means, columns):
    assert rows.keys() == means.keys()
    for name, row in rows.items():
        assert tuple(row) == columns
        # Rounded, and in two rows cut off, to one digit.
        assert -0.0501 < fmean(row.values()) - means[name] < 0.1, name


def test_numbers_stand_under_their_category():
    assert len(paper.CATEGORIES) == 16
    assert (paper.PCK["soft"]["mug"], paper.PCK["sampling-30"]["mug"]) == (23.9, 29.9)
    assert (paper.PCK["soft_vr"]["airplane"], paper.PCK["sampling-1"]["vessel"]) == (64.1, 33.3)
    assert (paper.DAS["soft"]["mug"], paper.DAS["sampling-1"]["mug"]) == (52.2, 67.0)
    assert (paper.DAS["soft_dr"]["knife"], paper.DAS["sampling-30"]["table"]) == (69.3, 81.7)


def test_samples_and_confidence_on_images():
    assert paper.SAMPLES["gaussian"] == {1: 68.1, 5: 68.1, 10: 68.2, 30: 68.3, 50: 68.3}
    assert paper.CONFIDENCE["soft"] == 0.233
    assert max(paper.CONFIDENCE, key=paper.CONFIDENCE.get) == "triangular"
