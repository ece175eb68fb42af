"""The window of `pcsargmax annotate`."""
