"""Clouds of points: hulls, neighbours, spread, motion."""
