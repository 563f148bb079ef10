"""How probable the data are under the model."""
