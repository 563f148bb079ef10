"""Types and bounds of a class's arguments, read from its file without importing it (torch takes seconds), and
in words."""

from __future__ import annotations

import ast
import importlib.util
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from latentrun.config import bounds

ROOT = Path(__file__).parents[1]
# What an annotation may be made of: names and their calls, but no attribute of anything, so nothing can run.
HARMLESS = (
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.Subscript,
    ast.Tuple,
    ast.List,
    ast.BinOp,
    ast.BitOr,
    ast.UnaryOp,
    ast.USub,
    ast.Call,
    ast.keyword,
)
BOUNDS = {name: value for name, value in vars(bounds).items() if isinstance(value, type)}
KNOWN = {
    **BOUNDS,
    **{kind.__name__: kind for kind in (int, float, str, bool, list, tuple, dict)},
    **{"Annotated": Annotated, "Literal": Literal, "Any": Any, "Mapping": dict, "Sequence": list},
}
NAMES = {int: "whole number", float: "number", str: "text", bool: "true | false", type(None): "null"}


# ---------------------------------------------------------------- from a file
def hints_of(target: str) -> dict[str, Any]:
    """The annotations of the arguments that the class ``package.module.Class`` takes, by name, as far as they
    can be read; what they name beside plain types and bounds is an empty class of that name. Nothing is
    known of torch's classes but what holds for all of them."""
    tree, cls = found(target)
    if tree is None or cls is None:
        return {}
    made = next((node for node in cls.body if getattr(node, "name", "") == "__init__"), None)
    if isinstance(made, ast.FunctionDef):
        arguments = [*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs]
        annotated = {argument.arg: argument.annotation for argument in arguments}
    else:
        annotated = {
            node.target.id: node.annotation
            for node in cls.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
    inherited: dict[str, Any] = {}
    for base in [] if isinstance(made, ast.FunctionDef) else cls.bases:
        if isinstance(base, ast.Name):
            module = target.rpartition(".")[0]
            inherited |= hints_of(imported_as(tree, base.id) or f"{module}.{base.id}")
    hints = {key: evaluated(node, tree) for key, node in annotated.items() if node is not None}
    return inherited | {key: hint for key, hint in hints.items() if hint is not None}


def texts_of(target: str, attribute: str) -> tuple[str, ...] | None:
    """The texts in an attribute of a class; None where it has none of its own, or they cannot be read."""
    tree, cls = found(target)
    for node in () if cls is None else cls.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == attribute and tree is not None:
            return tuple(texts_in(node.value, tree)) or None
    return None


def texts_in(node: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The texts of a tuple, and of those that are named in it."""
    if isinstance(node, ast.Tuple):
        for element in node.elts:
            yield from texts_in(element, tree)
    elif isinstance(node, ast.Starred):
        yield from texts_in(node.value, tree)
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.Name):
        shared = meant_by(tree, node.id)
        yield from shared if isinstance(shared, tuple) else ()


def found(target: str) -> tuple[ast.Module | None, ast.ClassDef | None]:
    """A class, and the module that it is written in."""
    module, _, name = target.rpartition(".")
    tree = parsed(module)
    cls = None if tree is None else next((node for node in classes(tree) if node.name == name), None)
    elsewhere = imported_as(tree, name) if tree is not None and cls is None else None
    return found(elsewhere) if elsewhere else (tree, cls)


@cache
def parsed(module: str) -> ast.Module | None:
    """The syntax of a module of latentrun or of a package that is installed, torch left out; None where there
    is no such file. No package is imported to find it."""
    package, *inner = module.split(".")
    if package == "torch" or not package.isidentifier():
        return None
    folder = ROOT
    if package != "latentrun":
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.origin:
            return None
        folder = Path(spec.origin) if not inner else Path(spec.origin).parent
    path = folder.joinpath(*inner)
    for file in (path, path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            try:
                return ast.parse(file.read_bytes())
            except (SyntaxError, ValueError):
                return None  # said where it is imported
    return None


def classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    """The classes of a module."""
    return (node for node in tree.body if isinstance(node, ast.ClassDef))


def meant_by(tree: ast.Module, name: str) -> Any:
    """What a name at the top level of a module stands for: a plain value, a type in other words, or an empty
    class of that name where it is anything else."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == name and value is not None:
            try:
                return ast.literal_eval(value)
            except ValueError:
                meant = evaluated(value, tree)
                return type(name, (), {}) if meant is None else meant
    module, _, original = (imported_as(tree, name) or "").rpartition(".")
    other = parsed(module) if module else None
    return meant_by(other, original) if other is not None else type(name, (), {})


def imported_as(tree: ast.Module, name: str) -> str | None:
    """The dotted path of a name that a module imports; None where it does not."""
    for node in (node for node in tree.body if isinstance(node, ast.ImportFrom)):
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                return f"{node.module}.{alias.name}"
    return None


def evaluated(node: ast.expr, tree: ast.Module) -> Any:
    """What an annotation in a module stands for; None where it is more than names, bounds and plain
    values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    parts = list(ast.walk(node))
    calls = [part.func for part in parts if isinstance(part, ast.Call)]
    if not all(isinstance(part, HARMLESS) for part in parts):
        return None
    if not all(isinstance(call, ast.Name) and call.id in BOUNDS for call in calls):
        return None
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    meanings = {"__builtins__": {}, **{name: meant_by(tree, name) for name in names - KNOWN.keys()}, **KNOWN}
    try:
        return eval(compile(ast.Expression(node), "annotation", "eval"), meanings)
    except Exception:  # a class of theirs with parameters, such as Callable[..., Tensor]
        return None


# ---------------------------------------------------------------- in words
def described(hint: Any) -> str:
    """An annotation in words.

    >>> described(Annotated[int, bounds.Count(1, 8)] | None), described(list[float])
    ('whole number, 1 to 8 or null', 'list of numbers')
    """
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return ", ".join(filter(None, [described(options[0]), *map(str, options[1:])]))
    if origin is Literal:
        return " | ".join(option if isinstance(option, str) else str(option).lower() for option in options)
    if origin in (Union, types.UnionType):
        return " or ".join(described(option) for option in options)
    if origin in (list, tuple) or hint in (list, tuple):
        return listed(origin or hint, options)
    if origin in (dict, Mapping) or hint in (dict, Mapping):
        return "mapping"
    return "" if hint is Any else NAMES.get(hint, getattr(hint, "__name__", ""))


def listed(origin: type, options: Sequence[Any]) -> str:
    """A list in words."""
    inner = described(options[0]) if options else ""
    many = (
        f" of {inner}s" if inner in ("whole number", "number", "text") else f" of ({inner})" if inner else ""
    )
    count = f" of {len(options)}" if origin is tuple and options and options[-1] is not Ellipsis else ""
    return f"list{count or many}"
