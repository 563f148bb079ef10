"""One comparison of runs on disk."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentrun.store.files import claim, require_empty
from latentrun.store.reports import ReportDirectory


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
        if anew and (path / "meta.json").is_file():
            shutil.rmtree(cls(path).path)
        require_empty(path)
        claim(path, cls.kind)
        return cls.described(path, meta)
