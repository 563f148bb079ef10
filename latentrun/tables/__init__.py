"""Runs to tables: collected, grouped, ranked."""
