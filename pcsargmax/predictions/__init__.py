"""Predictions and their calibration: plain data and the files that hold it."""
