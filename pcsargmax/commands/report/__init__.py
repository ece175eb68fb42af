"""`pcsargmax report`, for clouds and images."""
