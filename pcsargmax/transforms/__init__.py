"""Coordinate frames, augmentation and crops: small callables that copy first."""
