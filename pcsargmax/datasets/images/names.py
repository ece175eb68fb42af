"""The names that arguments of image data take; light enough for the command line, which must not wait for torch."""

from typing import Literal, TypeAlias

Law: TypeAlias = Literal["uniform", "normal"]
"""The distributions of a random rotation or scale, see `augment.ImageAugment`."""
