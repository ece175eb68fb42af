"""Training on images: settings and presets, prepared data, objectives on maps, the modules, and the runs they leave."""
