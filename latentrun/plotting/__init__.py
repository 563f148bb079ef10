"""Arrays to figures."""
