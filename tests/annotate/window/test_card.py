from pathlib import Path

import numpy as np
import pytest
from reference.annotation_store import Nowhere

from pcsargmax.annotate import Mark, Proposal, Session
from pcsargmax.annotate.window.card import draw_card, help_lines
from pcsargmax.visualize.palette import hex_to_rgb, keypoint_color


def make(count=5, scans=2):
    return Session([Path(f"scan{i}.ply") for i in range(scans)], [f"mark {i}" for i in range(count)], Nowhere())


def pixels_of(card) -> np.ndarray:
    return np.asarray(card.image).astype(int)


def area_of(card, means):
    return next(area.box for area in card.areas if area.means == means)


def count(card, box, color) -> int:
    left, top, right, bottom = (round(value) for value in box)
    part = pixels_of(card)[top:bottom, left:right]
    return int((np.abs(part - np.round(hex_to_rgb(color) * 255)).max(axis=-1) < 12).sum())


def test_rows_show_what_is_said_of_each_landmark():
    session = make()
    session.place(Mark((0, 0, 0)))
    session.absent()
    session.offer(0, {"mark 2": Proposal(Mark((1, 1, 1)), 0.7)})
    card = draw_card(session, (340, 900), 16, proposals=True)
    discs = [count(card, area_of(card, k), keypoint_color(k)) for k in range(5)]
    assert discs[0] > 100  # full
    assert discs[1] == 0  # grey
    assert all(20 < number < discs[0] for number in discs[2:])  # rings
    assert count(card, area_of(card, 2), "#dfe7f3") > 2000  # the current one stands out
    assert count(card, area_of(card, 0), "#dfe7f3") < 50  # but for pale letters
    right = [area[0] + 230 for area in (area_of(card, k) for k in range(5))]
    told = [
        count(card, (right[k], area_of(card, k)[1], 330, area_of(card, k)[3]), color)
        for k, color in ((0, "#1b6b3a"), (1, "#70707a"), (2, "#1c1c22"), (3, "#70707a"))
    ]
    assert min(told[:3]) > 5
    assert told[3] == 0


def test_clicks_mean_landmarks_and_keys():
    card = draw_card(make(), (340, 900), 16)
    for means in (0, 4, "A", "Z", "PAGE_DOWN", "I"):
        left, top, right, bottom = area_of(card, means)
        assert card.at((left + right) / 2, (top + bottom) / 2) == means
    assert card.at(5, 5) is None
    assert {"ENTER", "F"} & {area.means for area in card.areas} == set()
    assert {"ENTER", "F"} <= {area.means for area in draw_card(make(), (340, 900), 16, proposals=True).areas}
    alone = {area.means for area in draw_card(make(scans=1), (340, 900), 16).areas}
    assert "PAGE_DOWN" not in alone


def test_areas_do_not_overlap_and_lie_within():
    card = draw_card(make(40), (340, 700), 16, proposals=True)
    for i, (a, _) in enumerate(card.areas):
        assert 0 <= a[0] < a[2] <= 340
        assert 0 <= a[1] < a[3] <= 700
        apart = [a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 1e-6 or b[3] <= a[1] + 1e-6 for b, _ in card.areas[:i]]
        assert all(apart)


@pytest.mark.parametrize("height", [300, 600, 900])
def test_the_current_landmark_is_always_in_sight(height):
    session = make(40)
    for slot in (0, 17, 39):
        session.select(slot)
        card = draw_card(session, (340, height), 16)
        assert slot in {area.means for area in card.areas}
    assert draw_card(session, (340, height), 16, first=0).first == 0
    assert draw_card(session, (340, height), 16, first=99).first < 40


def test_help_names_every_key_and_gives_way():
    assert {"Enter", "F"} <= {shown for shown, _ in help_lines(True)}
    assert {"Enter", "F"} & {shown for shown, _ in help_lines(False)} == set()
    tall, low = (len(draw_card(make(40), (340, h), 16).areas) for h in (900, 500))
    hidden = len(draw_card(make(40), (340, 900), 16, help=False).areas)
    assert hidden > tall
    assert low > 8


def test_without_names_it_says_so():
    session = Session([Path("a.ply")], [], Nowhere(), open_names=True)
    card = draw_card(session, (340, 600), 16, status="status")
    assert {area.means for area in card.areas if isinstance(area.means, int)} == set()


def test_work_that_could_not_be_saved_is_said_in_red():
    class Full(Nowhere):
        def save(self, scan, names, marks):
            raise OSError("disk full")

    session = Session([Path("a.ply")], ["tip"], Full())
    red = [count(draw_card(session, (340, 600), 16, status="status"), (0, 0, 340, 600), "#b3261e")]
    session.absent()
    red.append(count(draw_card(session, (340, 600), 16, status="status"), (0, 0, 340, 600), "#b3261e"))
    assert red[0] == 0
    assert red[1] > 50
