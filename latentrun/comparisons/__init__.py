"""Comparisons: one file each."""
