"""Estimates, intervals, tests, and what simple readers tell from codes."""
