"""Self-contained HTML pages for clouds and images."""
