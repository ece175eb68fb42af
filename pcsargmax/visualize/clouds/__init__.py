"""Point clouds and meshes with their keypoints and maps, drawn by Open3D without a screen."""
