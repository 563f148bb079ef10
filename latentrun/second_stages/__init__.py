"""Second stages: laws of the codes of a trained model, one file each."""
