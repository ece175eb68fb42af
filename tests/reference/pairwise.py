import itertools
from collections.abc import Sequence


def pairwise(*axes: Sequence) -> list[tuple]:
    """Return few rows of the product in which any two values of two axes still meet."""
    rows = list(itertools.product(*map(range, map(len, axes))))
    pairs = {row: set(itertools.combinations(enumerate(row), 2)) for row in rows}
    missing, chosen = set().union(*pairs.values()), []
    while missing:
        best = max(rows, key=lambda row: len(pairs[row] & missing))
        missing -= pairs[best]
        chosen.append(tuple(axis[i] for axis, i in zip(axes, best, strict=True)))
    return chosen
