"""File formats: point clouds and meshes, landmarks, images, COCO annotations."""
