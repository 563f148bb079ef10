"""What may follow a model's own training."""
