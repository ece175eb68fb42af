"""Operators on point clouds: neighbours, farthest-point order, Chamfer distances, skeletons, seeds."""
