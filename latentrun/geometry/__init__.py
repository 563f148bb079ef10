"""The curved geometry of a latent space: metrics, curves, geodesics, of any decoder or metric."""
