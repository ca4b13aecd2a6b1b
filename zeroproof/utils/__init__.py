"""Records of training, on disk and on a dashboard."""
