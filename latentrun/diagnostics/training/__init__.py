"""What happened while the model trained."""
