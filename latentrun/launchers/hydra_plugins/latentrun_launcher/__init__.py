"""Our launcher, where Hydra looks for plugins."""
