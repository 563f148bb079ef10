"""Hashes that tell whether a finished fit or diagnostic is the one that is wanted.

A hash covers values and code: of every class that a ``_target_`` names its module, and all modules of
latentrun which that imports, directly or not. The code is read and parsed, never imported. Comments,
docstrings and layout do not count, nor do rooms that say, draw, store or check and leave the numbers alone.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from latentrun.config.build import targets

ROOT = Path(__file__).parents[1]
FIT_KEYS = ("data", "model", "network", "training", "seed", "rows")
# Rooms whose code no result hangs on; their imports are not followed either.
SILENT = {
    "claims",
    "cli",
    "command",
    "config",
    "errors",
    "launchers",
    "plotting",
    "report",
    "store",
    "sweep",
    "system",
    "tables",
    "tasks",
}
LAID_OUT = {"ctx", "kind", "type_comment"}  # fields of syntax that say nothing the others do not


def data_key(config: Mapping[str, Any]) -> str:
    """Equal for configurations with the same settings of the data, which then need them only once."""
    return fingerprint({key: config[key] for key in ("data", "rows")})


def fit_hash(config: Mapping[str, Any]) -> str:
    """What fixes a fit: data, model, network, training, seed and rows."""
    return fingerprint({key: config.get(key) for key in FIT_KEYS})


def fingerprint(spec: Mapping[str, Any]) -> str:
    """16 hex digits of the values in ``spec`` and of the code behind its ``_target_`` keys: for latentrun's
    classes their modules and what these import of latentrun, for a user's the whole package and the same."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True, default=str).encode())
    for code in sorted({_code(path).digest for path in sources(targets(spec))}):
        digest.update(code)
    return digest.hexdigest()[:16]


# ---------------------------------------------------------------- which files
def sources(names: Iterable[str]) -> set[Path]:
    """The files that classes with these dotted paths are made of. None for a library's, whose version
    meta.json names, and for what is not there."""
    paths: set[Path] = set()
    waiting = [path for name in names for path in _files_of_class(name)]
    while waiting:
        path = waiting.pop()
        if path not in paths:
            paths.add(path)
            waiting += [file for name in _code(path).imports for file in _files_of_module(name, ROOT)]
    return paths


def _files_of_class(target: str) -> Iterable[Path]:
    module = target.rpartition(".")[0]
    package = module.partition(".")[0]
    if package == "latentrun":
        return _files_of_module(module, ROOT)
    if package == "torch" or not package.isidentifier():
        return ()
    spec = importlib.util.find_spec(package)
    if spec is None:
        return ()
    if spec.submodule_search_locations is None:
        return (Path(spec.origin),) if spec.has_location and spec.origin else ()
    return (path for folder in spec.submodule_search_locations for path in Path(folder).rglob("*.py"))


@cache
def _files_of_module(name: str, root: Path) -> tuple[Path, ...]:
    """The file of a module of latentrun, or of the one that a name is imported from, with the files of the
    packages that it lies in; none where its room is silent."""
    parts = name.split(".")[1:]
    if not parts or parts[0] in SILENT:
        return ()
    packages = [root.joinpath(*parts[: i + 1], "__init__.py") for i in range(len(parts))]
    modules = [root.joinpath(*parts[: i + 1]).with_suffix(".py") for i in range(len(parts))]
    return tuple(path for path in (*packages, *modules) if path.is_file())


# ---------------------------------------------------------------- what is in them
@dataclass(frozen=True)
class Code:
    """What counts of a file: the ``digest`` of its code, and the names that it imports from latentrun."""

    digest: bytes
    imports: tuple[str, ...]


def _code(path: Path) -> Code:
    status = path.stat()
    return _parsed(path, status.st_mtime_ns, status.st_size)


@cache
def _parsed(path: Path, changed: int, size: int) -> Code:
    """A file is read again only where its time of change or its size is another."""
    source = path.read_bytes()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # of a package that may never come to run it
        return Code(hashlib.sha256(source).digest(), ())
    words: list[str] = []
    imports: list[str] = []
    _write(tree, words, imports)
    text = "".join(words).encode("utf-8", "surrogatepass")
    return Code(hashlib.sha256(text).digest(), tuple(dict.fromkeys(imports)))


def _write(node: ast.AST, words: list[str], imports: list[str]) -> None:
    """Append a syntax tree as text without what does not count to ``words``, and what it imports of latentrun
    to ``imports``."""
    if isinstance(node, ast.Import):
        imports += [alias.name for alias in node.names if alias.name.startswith("latentrun.")]
    elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "latentrun":
        imports += [f"{node.module}.{alias.name}" for alias in node.names]
    words.append(f"({type(node).__name__}")
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or name in LAID_OUT:
            continue
        words.append(f" {name}=")
        for inner in value if isinstance(value, list) else (value,):
            if isinstance(inner, ast.AST):
                if not _counts_for_nothing(inner):
                    _write(inner, words, imports)
            else:
                words.append(f"{inner!r} ")
    words.append(")")


def _counts_for_nothing(node: Any) -> bool:
    """Whether a statement is a text on its own, or only there for type checkers."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.If) and not node.orelse:
        return getattr(node.test, "id", getattr(node.test, "attr", "")) == "TYPE_CHECKING"
    return False
