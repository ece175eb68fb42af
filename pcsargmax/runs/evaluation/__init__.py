"""Evaluation of finished runs: predictions against annotations, one file per kind of run."""
