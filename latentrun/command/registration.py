"""What Hydra must know of us, in its lines 1.3 and 1.4."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from latentrun.command.typed import quoted

SEARCH_PATH = "hydra.searchpath"
# holds the namespace package in which Hydra finds plugins
PLUGINS = str(Path(__file__).parents[1] / "launchers")


def stable() -> bool:
    """Whether this is Hydra 1.3 with OmegaConf 2.3, and not what comes after."""
    import hydra

    return hydra.__version__.startswith("1.3")


def version_base() -> dict[str, str]:
    """Hydra 1.3 wants to be told which defaults hold; 1.4 warns when it is."""
    return {"version_base": "1.3"} if stable() else {}


def register() -> None:
    """Tell Hydra of ours: ``${slug:text}`` (text as a folder name that needs no
    quotes in a list, at most 80 characters), and where our
    launcher lies."""
    from omegaconf import OmegaConf

    if PLUGINS not in sys.path:
        sys.path.append(PLUGINS)

    # OmegaConf 2.4 gives the old name a new meaning, and warns of the name that 2.3 wants.
    make = OmegaConf.register_new_resolver if stable() else OmegaConf.register_resolver
    make(
        "slug",
        lambda text: re.sub(r"[^\w.=+-]+", "-", re.sub(r"\w+@", "", str(text)))[:80] or "job",
        replace=True,
    )


def search_path(folders: Sequence[Path]) -> list[str]:
    """The override that lets Hydra find the user's own options."""
    places = ",".join(quoted(f"file://{folder}") for folder in folders)
    return [f"{SEARCH_PATH}=[{places}]"] if folders else []
