"""The names that arguments of the method take; light enough for the command line, which must not wait for torch."""

from typing import Literal, TypeAlias

Relaxation: TypeAlias = Literal["gumbel_softmax", "published", "straight_through"]
"""The ways to draw weights, see `relaxation.relaxed_categorical`."""

ScheduleName: TypeAlias = Literal["constant", "linear", "exponential", "published"]
"""The schedules of the temperature, see `relaxation.make_schedule`."""

DistanceName: TypeAlias = Literal["l1", "l2", "squared_l2"]
"""The distances without parameters, see `distances.distance`."""

BasisName: TypeAlias = Literal["uniform", "triangular", "gaussian"]
"""The densities around a cell of a map, see `bases.BASIS_BY_NAME`."""

CoordinateGradient: TypeAlias = Literal["exact", "sign"]
"""The gradients of a coordinate, see `grid_argmax.GridArgmax`."""
