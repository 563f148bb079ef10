"""How far two distributions are apart."""
