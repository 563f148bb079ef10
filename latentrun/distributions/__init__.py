"""Distributions that torch lacks, with the interface of torch.distributions."""
