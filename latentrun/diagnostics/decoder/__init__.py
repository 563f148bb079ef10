"""What the map between codes and data does."""
