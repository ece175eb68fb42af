"""A table of landmarks as `pcsargmax.io.read_landmark_table` reads it."""

import csv

import numpy as np


def write_csv(path, files, names, positions):
    """Write positions (B, K, 3) of the landmarks of B files, a row a landmark."""
    positions = np.asarray(positions, dtype=np.float64)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "name", "x", "y", "z"])
        for (i, j), name in zip(np.ndindex(positions.shape[:2]), list(names) * len(files), strict=True):
            writer.writerow([files[i], name, *positions[i, j].tolist()])
