"""Tab completion in the shell: Hydra's, which also finds the user's own folders, flags and the elements of
lists."""

from __future__ import annotations

import io
import os
import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from latentrun.command.flags import Flags, folders_of, parse
from latentrun.command.registration import register, search_path, version_base
from latentrun.config.options import GROUPS, shipped
from latentrun.errors import InputError, nearest
from latentrun.system.terminal import show

if TYPE_CHECKING:
    from hydra.plugins.completion_plugin import CompletionPlugin

COMMANDS, SHELLS = ("install", "uninstall", "query"), ("bash", "zsh", "fish")


def complete(arguments: Namespace) -> int:
    """``-sc install=bash``: print what the shell is to evaluate; ``-sc query=bash``: what may follow the line
    in the environment variable COMP_LINE. The exit code."""
    command, _, shell = (arguments.overrides or [""])[0].partition("=")
    if len(arguments.overrides) != 1 or command not in COMMANDS or shell not in SHELLS:
        near = nearest(shell, SHELLS) if command in COMMANDS else nearest(command, COMMANDS)
        raise InputError(
            f"-sc takes one of {', '.join(COMMANDS)} and a shell, {', '.join(SHELLS)}: "
            f"latentrun -sc install=bash{near}"
        )
    if command == "query":
        show(suggestions(os.environ.get("COMP_LINE", ""), shell))
    else:
        with _plugin(shell) as plugin:
            getattr(plugin, command)()
    return 0


def suggestions(line: str, shell: str) -> str:
    """What may follow a command line, in the form that the shell's function wants; nothing where the line is
    not understood, for a message would land in the middle of it."""
    first, *words = line.split() or [""]
    last = words.pop() if words and not line[-1].isspace() else ""
    if last.startswith("-"):
        separator = "\n" if shell == "fish" else " "
        return separator.join(
            name for name in Flags().names if name.startswith(last) and name.startswith("--")
        )
    # Hydra completes one option; in a list that is the element behind the last comma.
    match = re.fullmatch(rf"(({'|'.join(GROUPS)})=\[(?:.*,)?)([^,\]]*)", last)
    opened, group, element = match.groups() if match else ("", "", "")
    try:
        offered = _offered([Path(first).name], words, f"{group}={element}" if match else last, shell)
    except Exception:
        return ""
    return re.sub(rf"(^|\s){group}=", rf"\1{opened}", offered) if match else offered


def _offered(program: list[str], words: list[str], last: str, shell: str) -> str:
    """What Hydra offers for the word ``last`` behind others."""
    arguments = parse(words)
    flags = ["-m"] if arguments.multirun else []
    folders = search_path(folders_of(arguments))
    line = " ".join([*program, *flags, *folders, *arguments.overrides, last])
    shown = io.StringIO()
    with redirect_stdout(shown), redirect_stderr(io.StringIO()), _plugin(shell) as plugin:
        os.environ["COMP_LINE"] = line
        plugin.query("config")
    return shown.getvalue().strip()


@contextmanager
def _plugin(shell: str) -> Iterator[CompletionPlugin]:
    """Hydra's completion for a shell, over our options."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.plugins.completion_plugin import CompletionPlugin

    register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(shipped()), job_name="latentrun", **version_base()):
        kinds = {
            kind.provides(): kind
            for kind in Plugins.instance().discover(CompletionPlugin)
            if kind.__module__.startswith("hydra._")
        }
        yield kinds[shell](GlobalHydra.instance().config_loader())
