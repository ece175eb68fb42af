"""The interactive Open3D window."""
