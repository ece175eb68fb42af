"""Training of keypoint detectors on point clouds: data, objective, LightningModule."""
