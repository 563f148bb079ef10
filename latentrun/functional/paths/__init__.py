"""Paths through latent space."""
