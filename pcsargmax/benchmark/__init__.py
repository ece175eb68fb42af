"""The paper's experiments: planned, run side by side, kept as small results, and put into tables."""
