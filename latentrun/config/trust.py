"""Whose classes a command may make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Trust:
    """Packages beside latentrun and torch whose classes may be made, and files that are programs.

    ``directory``: those that what is read back from a run directory may name: the ones that the user named
    with ``trust=``. ``fresh``: those that the command itself may name: these, and the packages that the
    user's own YAML files name, for to write a file there is to trust it.

    >>> Trust.of(["mine"], ["theirs"]).fresh
    ('mine', 'theirs')
    """

    directory: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()

    @classmethod
    def of(cls, named: Iterable[str], user_packages: Iterable[str] = ()) -> Trust:
        """From what ``trust=`` names and the packages of the user's own files."""
        named = tuple(named)
        return cls(named, tuple(dict.fromkeys([*named, *user_packages])))

    def for_directories(self) -> Trust:
        """For a command whose settings all come from a directory: a sweep that is gone on with."""
        return Trust(self.directory, self.directory)

    def for_its_runs(self) -> Trust:
        """For a command that reads back the runs it has made itself, or that stand for them."""
        return Trust(self.fresh, self.fresh)
