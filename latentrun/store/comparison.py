"""One comparison of runs on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentrun.store.files import claim, require_empty
from latentrun.store.reports import ReportDirectory
from latentrun.system.door import Guarded


class ComparisonDirectory(ReportDirectory):
    """What comparisons found about the runs that meta.json names. Open it with ``ComparisonDirectory(path)``,
    make one with :meth:`create`."""

    kind = "comparison"
    of = "comparison"

    @classmethod
    def create(cls, path: str | Path, meta: Mapping[str, Any], anew: bool = False) -> ComparisonDirectory:
        """A new directory; ``anew``: in the place of an earlier comparison, if there is one. InputError where
        it cannot be made."""
        path = Path(path)
        if anew and (Guarded(path) / "meta.json").exists():
            cls(path).folder.remove_tree()
        require_empty(path)
        return cls.described(claim(path, cls.kind), meta)
