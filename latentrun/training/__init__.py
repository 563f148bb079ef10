"""The one training loop, its schedules and checkpoints."""
