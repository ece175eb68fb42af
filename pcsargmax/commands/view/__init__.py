"""`pcsargmax view`, for clouds and images."""
