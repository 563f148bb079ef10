"""Settings of runs that an older version made, as this one needs them."""

from __future__ import annotations

from typing import Any

# What a class did before it had a setting: the value that leaves an older run what it was.
SINCE = {
    "latentrun.models.vae.VAE": {"beta_start": 0.0, "cycle_epochs": None, "cycles": 1, "free_bits": 0.0},
    "latentrun.training.loop.Training": {"noise_on_latent": None},
}


def upgraded(settings: Any) -> Any:
    """A configuration, or part of one, with the settings that its classes have got since; what it has
    stays."""
    if isinstance(settings, list):
        return [upgraded(value) for value in settings]
    if not isinstance(settings, dict):
        return settings
    known = SINCE.get(str(settings.get("_target_")), {})
    return {key: upgraded(value) for key, value in settings.items()} | {
        key: value for key, value in known.items() if key not in settings
    }
