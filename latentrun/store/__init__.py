"""The only reader and writer of run directories, and of those of comparisons.

Whoever may have written in a directory, all that is opened, made or removed in it goes through the door
(:mod:`latentrun.system.door`): no link is followed, and only plain files of bounded size are read. What is
read says what :mod:`latentrun.store.schema` has for it, or is refused in one line.

Every file is written to a temporary name, flushed to disk and moved into place: a reader sees the old one or
the new one, never half of one. Nothing that is read back can run code: YAML safe loader, JSON, CSV, npz
without pickle, checkpoints with ``weights_only``.
"""

from latentrun.store.activity import Activity
from latentrun.store.comparison import ComparisonDirectory
from latentrun.store.directory import RunDirectory
from latentrun.store.files import Plain, now
from latentrun.store.reports import METRIC_COLUMNS, ReportDirectory
from latentrun.store.twins import comparisons, fits, twin

__all__ = [
    "METRIC_COLUMNS",
    "Activity",
    "ComparisonDirectory",
    "Plain",
    "ReportDirectory",
    "RunDirectory",
    "comparisons",
    "fits",
    "now",
    "twin",
]
