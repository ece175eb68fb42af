"""What the readers of official files leave out, in words."""

from __future__ import annotations

from collections.abc import Mapping

#: Why people and frames are left out whose box has nothing of their image in it.
OUTSIDE = "box without a size or outside its image"


def left_out(dropped: Mapping[str, int]) -> str:
    """What stands behind the number of items of a data set, as in: ", 2 left out (crowd), 1 left out (...)"."""
    return "".join(f", {number} left out ({reason})" for reason, number in dropped.items())


def nothing_left(where: object, what: str, dropped: Mapping[str, int]) -> ValueError:
    """The error of a file that holds nothing, or of which nothing is kept.

    Args:
        where: the file.
        what: items, in the plural: people.
        dropped: reasons and numbers.
    """
    return ValueError(f"{where}: no {what}{left_out(dropped)}")
