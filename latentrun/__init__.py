"""latentrun: what is my latent space like?"""

__version__ = "0.1.0"


def load(directory):
    """The finished run in ``directory`` as a :class:`latentrun.run.Run`."""
    from latentrun.pipeline import load

    return load(directory)
