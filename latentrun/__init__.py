"""latentrun: what is my latent space like?"""

__version__ = "0.3.0"


def load(directory, trust=(), device="cpu"):
    """The finished run in ``directory`` as a :class:`latentrun.run.Run`; see
    :func:`latentrun.tasks.loading.load`."""
    from latentrun.tasks.loading import load

    return load(directory, trust, device)
