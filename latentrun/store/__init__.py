"""The only reader and writer of a run directory.

Every file is written to a temporary name, flushed to disk and moved into place: a reader sees the old one or the new
one, never half of one. Nothing that is read back can run code: YAML safe loader, JSON, CSV, npz without pickle,
checkpoints with ``weights_only``.
"""

from latentrun.store.activity import Activity
from latentrun.store.directory import METRIC_COLUMNS, RunDirectory
from latentrun.store.files import Plain, atomic, now

__all__ = ["METRIC_COLUMNS", "Activity", "Plain", "RunDirectory", "atomic", "now"]
