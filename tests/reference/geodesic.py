"""Shortest paths over the graph of nearest neighbours: all pairs of points, then Floyd and Warshall's three loops."""

import math


def distances(points, neighbors):
    """Matrix of path lengths between points (lists of numbers), infinite where there is no path."""
    count = len(points)
    straight = [[math.dist(a, b) for b in points] for a in points]
    found = [[0.0 if i == j else math.inf for j in range(count)] for i in range(count)]
    for i in range(count):
        others = sorted((j for j in range(count) if j != i), key=lambda j, i=i: straight[i][j])
        for j in others[:neighbors]:
            found[i][j] = found[j][i] = straight[i][j]
    for k in range(count):
        for i in range(count):
            for j in range(count):
                found[i][j] = min(found[i][j], found[i][k] + found[k][j])
    return found
