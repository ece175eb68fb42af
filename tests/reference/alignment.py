"""The dual alignment score and its chance correction as loops over the pairs of models."""

import itertools


def labels(predicted, target, visible):
    """Nearest present annotation of each keypoint, nearest keypoint of each annotation (None where absent)."""
    forward, backward = [], []
    for points, places, present in zip(predicted.tolist(), target.tolist(), visible.tolist(), strict=True):
        ids = [g for g, there in enumerate(present) if there]
        forward.append([min(ids, key=lambda g, p=p: square(p, places[g])) for p in points])
        near = [min(range(len(points)), key=lambda k, q=q: square(points[k], q)) for q in places]
        backward.append([near[g] if g in ids else None for g in range(len(places))])
    return forward, backward


def square(a, b):
    """The squared distance."""
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def agreement(rows, self_pairs=True, origin=None):
    """Mean over the columns of the share of ordered pairs of rows that agree there.

    Rows of equal origin are copies of one model, and are no pair but of each with itself.
    """
    return mean_over_pairs(rows, self_pairs, lambda one, other, c: one[c] == other[c], origin)


def chance(rows, origin=None):
    """The same for rows whose labels are in random order: any label of one row against any of the other."""

    def any_order(one, other, _):
        pairs = list(itertools.product(have(one), have(other)))
        return sum(a == b for a, b in pairs) / len(pairs)

    return mean_over_pairs(rows, False, any_order, origin)


def have(row):
    """The labels that are there."""
    return [label for label in row if label is not None]


def mean_over_pairs(rows, self_pairs, value, origin=None):
    """Mean over the columns of the mean over the ordered pairs of rows that both have a label in the column."""
    origin = origin or list(range(len(rows)))
    means = []
    for c in range(len(rows[0])):
        there = [m for m, row in enumerate(rows) if row[c] is not None]
        pairs = [(m, n) for m in there for n in there if (self_pairs and m == n) or origin[m] != origin[n]]
        if pairs:
            means.append(sum(value(rows[m], rows[n], c) for m, n in pairs) / len(pairs))
    return sum(means) / len(means)


def kappa(rows, origin=None):
    """Agreement of different rows above chance."""
    observed, expected = agreement(rows, False, origin), chance(rows, origin)
    return (observed - expected) / (1 - expected)
