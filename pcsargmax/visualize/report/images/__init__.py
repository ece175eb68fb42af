"""Reports on runs of images: keypoints and surfaces."""
