"""Training of Skeleton Merger, which discovers keypoints without labels."""
