"""Diagnostics: one file each."""
