"""Whole models: backbone, head and what their scores mean, one file each."""
