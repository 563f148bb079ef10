"""The curved geometry of a latent space: metrics, curves, geodesics. Pure functions of a decoder or a metric."""
