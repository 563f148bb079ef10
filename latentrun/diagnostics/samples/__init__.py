"""What the model generates."""
