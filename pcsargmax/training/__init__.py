"""Training: settings, data, objectives, the LightningModule, and the run folder they leave."""
