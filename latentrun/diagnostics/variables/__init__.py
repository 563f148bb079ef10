"""What each latent variable is worth."""
