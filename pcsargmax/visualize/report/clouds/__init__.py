"""Reports on runs of point clouds: detectors and discoveries."""
