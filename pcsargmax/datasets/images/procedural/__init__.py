"""Images that this package draws: data to train on and test with, without a download."""

from pcsargmax.datasets.images.procedural.faces import ProceduralFaces
from pcsargmax.datasets.images.procedural.figures import ProceduralFigures
from pcsargmax.datasets.images.procedural.slices import ProceduralSlices

__all__ = ["ProceduralFaces", "ProceduralFigures", "ProceduralSlices"]
