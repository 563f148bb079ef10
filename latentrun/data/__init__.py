"""Data sets: one file a family."""
