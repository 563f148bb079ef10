"""The flags of the command, and the folders of options that they name."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from latentrun.command.overrides import read
from latentrun.command.registration import SEARCH_PATH
from latentrun.config.options import GROUPS, extra
from latentrun.errors import InputError, nearest

SWITCHES = (
    ("--help", "-h"),
    ("--version",),
    ("--hydra-help",),
    ("--multirun", "-m"),
    ("--shell-completion", "-sc"),
)
INFOS = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]


class Flags(ArgumentParser):
    """The flags of the command; those of Hydra's that make sense here, by Hydra's names."""

    def __init__(self):
        super().__init__("latentrun", add_help=False, allow_abbrev=False)
        self.add_argument("overrides", nargs="*")
        self.add_argument("--quiet", "-q", action="store_true")
        self.add_argument("--resolve", action="store_true")
        self.add_argument("--package", "-p")
        self.add_argument("--config-dir", "-cd", action="append", default=[])
        what = self.add_mutually_exclusive_group()
        for names in SWITCHES:
            what.add_argument(*names, action="store_true")
        what.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
        what.add_argument("--info", "-i", nargs="?", const="all", choices=INFOS)

    @property
    def names(self) -> list[str]:
        """Every spelling of every flag."""
        return [name for action in self._actions for name in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Wrong use is wrong input."""
        raise InputError(f"{message}; see latentrun --help")


def parse(argv: Sequence[str]) -> Namespace:
    """Flags and overrides, in any order."""
    flags = Flags()
    for text in argv:
        name = text.partition("=")[0]
        if text.startswith("-") and text != "--" and name not in flags.names:
            key = name.lstrip("-")
            if key.partition(".")[0] in GROUPS or (text != name and not nearest(name, flags.names)):
                raise InputError(
                    f"unknown flag {text!r}: values are given without dashes: "
                    f"{key}={text.partition('=')[2] or '...'}"
                )
            raise InputError(f"unknown flag {text!r}{nearest(name, flags.names)}; see latentrun --help")
    arguments = flags.parse_intermixed_args(argv)
    if (arguments.resolve or arguments.package) and not arguments.cfg:
        flag = "--resolve" if arguments.resolve else "--package"
        raise InputError(f"{flag} goes with --cfg; see latentrun --help")
    return arguments


def folders_of(arguments: Namespace) -> list[Path]:
    """The user's own folders (see :func:`latentrun.config.options.extra`); takes ``hydra.searchpath`` out of
    the overrides."""
    named: list[str] = []
    for text in [text for text in arguments.overrides if text.lstrip("+").startswith(f"{SEARCH_PATH}=")]:
        folders = read(text, "").value()
        if not isinstance(folders, list) or not all(isinstance(name, str) for name in folders):
            raise InputError(
                f"{text!r}: must be a list of folders: '{SEARCH_PATH}=[file:///folder,pkg://package.folder]'"
            )
        named += folders
        arguments.overrides.remove(text)
    return extra(arguments.config_dir, named)
