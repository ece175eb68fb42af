"""A finished run: open it, predict with it, evaluate it."""
