"""Plain configuration to objects: the only place where ``_target_`` becomes a class.

Everything is checked before anything is called: the class is allowed, every key is an argument, every value
has the type and bound its annotation gives. Nothing but classes is ever called, so a configuration cannot run
a function.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import os
import sys
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from latentrun.config.bounds import Makes, Program, bounds_of_torch
from latentrun.config.written import written_at
from latentrun.errors import InputError, Unmade, nearest, one_line

TARGET = "_target_"
SHOWN = 200  # characters of a wrong value in a message
LONGEST = 100_000  # values in a list


def build(spec: Mapping[str, Any], kind: type, where: str, trust: Sequence[str] = (), **given: Any) -> Any:
    """The object that ``spec`` describes: ``{_target_: class, argument: value, ...}``.

    ``kind``: the protocol the class must subclass; ``where``: the key of ``spec`` in the configuration, for
    messages; ``trust``: packages beside latentrun and torch whose classes may be made; ``given``: arguments
    that come from other parts of the run and not from the configuration. Raises InputError.

    An argument that is annotated with a class and written as such a mapping is built in the same way, with
    the same ``given``; one that is annotated with :class:`latentrun.config.bounds.Makes` is checked now and
    made by the class itself, as a :class:`Recipe`.
    """
    return _made(_checked(spec, kind, where, trust, given), where)


@dataclass(frozen=True)
class Recipe:
    """Something that is described and checked, and waits for what it is to be given. ``where``: its key in
    the configuration."""

    make: partial
    where: str

    def __call__(self, **given: Any) -> Any:
        """The object, with what its signature names of ``given``; InputError that says where, if it cannot be
        made."""
        parameters = inspect.signature(self.make.func).parameters
        taken = {key: value for key, value in given.items() if key in parameters}
        try:
            return _made(partial(self.make, **taken), self.where)
        except InputError as error:
            # A class knows not under which key it is described: what is wrong inside it is said with that
            # key.
            if str(error).startswith(self.where):
                raise
            raise type(error)(f"{self.where}: {error}") from error


@dataclass(frozen=True)
class _Part:
    """An argument that is an object itself, made when the object is that has it."""

    make: partial
    where: str


def _made(make: partial, where: str) -> Any:
    """Call what was checked, its parts first."""
    _require_whole(make.func, where)
    objects = {key: value for key, value in make.keywords.items() if isinstance(value, _Part)}
    parts = {key: _made(part.make, part.where) for key, part in objects.items()}
    try:
        return make(**parts)
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{where}: {error.filename!r} cannot be read: {error.strerror}") from error
    except Exception as error:
        full = isinstance(error, MemoryError) or "can't allocate memory" in str(error)
        why = "it does not fit into the memory" if full else happened(error, make.func.__module__)
        raise InputError(f"{where}: {make.func.__name__} cannot be made: {why}") from error


def _require_whole(cls: Any, where: str) -> None:
    """Unmade, with the file and line of the class, where it lacks methods of its protocol."""
    if not inspect.isabstract(cls):
        return
    lacking = ", ".join(repr(name) for name in sorted(cls.__abstractmethods__))
    raise Unmade(f"{where}: {cls.__name__} lacks {lacking} ({written_at(cls)})")


def later(
    spec: Mapping[str, Any] | None,
    kind: type,
    where: str,
    trust: Sequence[str] = (),
    given: Sequence[str] = (),
) -> partial | None:
    """Like :func:`build`, but the class waits for its ``given`` arguments (an optimizer for its
    parameters)."""
    return None if spec is None else _checked(spec, kind, where, trust, dict.fromkeys(given), waiting=True)


def _checked(
    spec: Any,
    kind: type,
    where: str,
    trust: Sequence[str],
    given: Mapping[str, Any],
    waiting: bool = False,
) -> partial:
    """The class that ``spec`` describes with its arguments, all checked, ready to be called; ``waiting``:
    the ``given`` ones come later."""
    if not isinstance(spec, Mapping) or TARGET not in spec:
        raise InputError(f"{where}: must be a mapping with the key {TARGET}, got {shown(spec)}")
    cls = resolve(spec[TARGET], kind, where, trust)
    arguments = {key: value for key, value in spec.items() if key != TARGET}
    parameters, hints = signature(cls)
    for key in arguments:
        if key not in parameters or key in given:
            guess = nearest(key, [name for name in parameters if name not in given])
            raise InputError(f"{where}.{key}: {cls.__name__} takes no such value{guess}")
    needed = [name for name, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    missing = [name for name in needed if name not in arguments and name not in given]
    if missing:
        raise InputError(f"{where}: {cls.__name__} needs a value for {', '.join(missing)}")
    passed_on = {} if waiting else given
    for key, value in arguments.items():
        hint, place = hints.get(key, Any), f"{where}.{key}"
        inner = _inner(value, hint, place, trust, passed_on)
        arguments[key] = inner if isinstance(inner, _Part) else fit(inner, hint, place)
        _keep(arguments[key], bounds_of_torch(cls, key), place)
        _require_trusted(arguments[key], hint, place, trust)
    # A class takes of what is given what its signature names: an AE needs no prior, a dense net no channels.
    passed = {} if waiting else {key: value for key, value in given.items() if key in parameters}
    return partial(cls, **passed, **arguments)


def _inner(value: Any, hint: Any, where: str, trust: Sequence[str], given: Mapping[str, Any]) -> Any:
    """``value`` with every object that is described in it, as its annotation asks, checked and ready to be
    made."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        mark = next((mark for mark in options[1:] if isinstance(mark, Makes)), None)
        if mark is None:
            return _inner(value, options[0], where, trust, given)
        later_given = dict.fromkeys(mark.given)
        return Recipe(_checked(value, mark.kind, where, trust, later_given, waiting=True), where)
    if origin is dict and options and get_origin(options[1]) is Annotated and isinstance(value, Mapping):
        items = value.items()
        return {key: _inner(item, options[1], f"{where}.{key}", trust, given) for key, item in items}
    if origin in (Union, types.UnionType) and isinstance(value, Mapping) and TARGET in value:
        hint = next((option for option in options if _is_part(option, trust)), hint)
    if isinstance(value, Mapping) and TARGET in value and _is_part(hint, trust):
        return _Part(_checked(value, hint, where, trust, given), where)
    return value


def _is_part(hint: Any, trust: Sequence[str]) -> bool:
    """Whether an argument is an object of a class of ours, of torch or of a trusted package, and no plain
    value."""
    return (
        isinstance(hint, type)
        and hint.__module__.partition(".")[0] in ("latentrun", "torch", *trust)
        and not issubclass(hint, Enum)
    )


def _require_trusted(value: Any, hint: Any, where: str, trust: Sequence[str]) -> None:
    """InputError where a value names a file that can run code, and ``trust`` does not."""
    for mark in getattr(hint, "__metadata__", ()):
        if not isinstance(mark, Program) or value in (*mark.known, *trust):
            continue
        if Path(value).expanduser().is_file():
            raise InputError(f"{where}: {value!r} is a program; if you know it, add 'trust=[{value}]'")


def signature(cls: type) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """The constructor's parameters by name, and their annotations with bounds."""
    parameters = dict(inspect.signature(cls).parameters)
    try:
        hints = get_type_hints(cls.__init__, include_extras=True)
    except NameError:  # annotations of other libraries may name what is only there for type checkers
        hints = {}
    return parameters, hints


def resolve(path: str, kind: type, where: str, trust: Sequence[str] = ()) -> type:
    """The class at a dotted path, if it is one that a configuration may make.

    It must be a class (never a function) that subclasses ``kind``, *defined* in latentrun, in torch.nn or
    torch.optim, or in a trusted package; where a name was merely imported to does not count.
    """
    module_name, _, name = str(path).rpartition(".")
    package = module_name.partition(".")[0]
    key, allowed = f"{where}.{TARGET}", ("latentrun", "torch", *trust)
    if package in sys.stdlib_module_names:
        raise InputError(
            f"{key}: {path!r} is in the standard library, which is not trusted, whatever trust= says"
        )
    if package not in allowed:
        advice = ": write package.module.Class"
        if package.isidentifier():
            advice = f"; add 'trust=[{package}]' if you know it"
        raise InputError(
            f"{key}: {path!r} is in package {package!r}, which is not trusted (trusted: "
            f"{', '.join(allowed)}){advice}"
        )
    module = imported(module_name, key)
    if not hasattr(module, name):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise InputError(f"{key}: there is no class {path!r}{nearest(name, classes)}")
    cls = getattr(module, name)
    if not inspect.isclass(cls) or not issubclass(cls, kind):
        raise InputError(f"{key}: {path!r} is not {_article(kind.__name__)}")
    home = cls.__module__
    bases = ("latentrun", "torch.nn", "torch.optim", *(package for package in trust if package != "torch"))
    if not any(home == base or home.startswith(base + ".") for base in bases):
        raise InputError(f"{key}: {path!r} is defined in {home!r}, which is not trusted")
    return cls


def imported(name: str, key: str) -> types.ModuleType:
    """The module of a package that is trusted; InputError that tells a missing package from an error inside
    it."""
    package = name.partition(".")[0]
    try:
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"{key}: there is no package {package!r}: it is neither installed nor on PYTHONPATH"
            )
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (error.name == name or name.startswith(f"{error.name}.")):
            raise InputError(f"{key}: there is no module {name!r}") from None
        raise InputError(f"{key}: {name!r} cannot be imported: {happened(error, package)}") from error
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{key}: {name!r} cannot be imported: {happened(error, package)}") from error


def happened(error: BaseException, module: str) -> str:
    """``ValueError: text (file.py, line 3)``: an error and where in the package of ``module`` it came up."""
    text = error.msg if isinstance(error, SyntaxError) else one_line(error)
    return f"{type(error).__name__}: {text} ({place_of(error, module)})"


def place_of(error: BaseException, module: str) -> str:
    """``file.py, line 3``: the last place in the package of ``module`` that an error came through, else the
    last of all."""
    package = sys.modules.get(module.partition(".")[0])
    file = getattr(package, "__file__", None)
    home = (str(Path(file).parent) + os.sep if hasattr(package, "__path__") else file) if file else ""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames, home = [(error.filename, error.lineno)], ""
    frames = [frame for frame in frames if not frame[0].startswith("<")] or frames
    file, line = next((frame for frame in reversed(frames) if frame[0].startswith(home)), frames[-1])
    return f"{file}, line {line}"


def targets(spec: Any) -> Iterator[str]:
    """Every ``_target_`` in a nest of mappings and lists."""
    if isinstance(spec, Mapping):
        if TARGET in spec:
            yield str(spec[TARGET])
        spec = list(spec.values())
    if isinstance(spec, list):
        for value in spec:
            yield from targets(value)


def fit(value: Any, hint: Any, where: str) -> Any:
    """``value`` as its annotation asks (a list for a tuple is fine, an int for a float becomes one), or
    InputError."""
    bounds: Sequence[Any] = ()
    if get_origin(hint) is Annotated:
        hint, *bounds = get_args(hint)
    value = _typed(value, hint, where)
    _keep(value, bounds, where)
    return value


def _keep(value: Any, bounds: Sequence[Any], where: str) -> None:
    """InputError where a value breaks a bound; null keeps every one."""
    for bound in bounds if value is not None else ():
        broken = bound.broken(value) if hasattr(bound, "broken") else None
        if broken:
            got = f"{len(value):,} values" if broken.endswith(" values") else repr(value)
            raise InputError(f"{where}: must be {broken}, got {got}")


def _typed(value: Any, hint: Any, where: str) -> Any:
    """``value`` as its annotation without bounds asks, or InputError."""
    origin, options = get_origin(hint), get_args(hint)
    if hint is Any or hint is inspect.Parameter.empty:
        return value
    if origin is Annotated:
        return fit(value, hint, where)
    if origin is Literal:
        if not any(value == option and type(value) is type(option) for option in options):
            names = [option if isinstance(option, str) else shown(option) for option in options]
            allowed, guess = ", ".join(names), nearest(str(value), names)
            raise InputError(f"{where}: {shown(value)} is not allowed{guess}; allowed: {allowed}")
        return value
    if origin in (Union, types.UnionType):
        return _union(value, options, where)
    if origin in (list, tuple) or hint in (list, tuple):
        return _sequence(value, hint, origin or hint, options, where)
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{where}: must be a mapping, got {shown(value)}")
        inner = options[1] if options else Any
        return {key: fit(element, inner, f"{where}.{key}") for key, element in value.items()}
    if hint in (int, float) and not isinstance(value, bool):
        value = _number(value, hint, where)
    wrong = isinstance(hint, type) and not isinstance(value, hint)
    if wrong or (isinstance(value, bool) and isinstance(hint, type) and hint is not bool):
        raise InputError(f"{where}: must be {NAMES.get(hint, hint.__name__)}, got {shown(value)}")
    return value


def _number(value: Any, hint: type, where: str) -> Any:
    """An int for a float becomes one; InputError for numbers that are not finite, too large or written as
    the other kind. What is no number comes back as it is."""
    if hint is float and isinstance(value, int | float):
        if not math.isfinite(value):
            raise InputError(f"{where}: must be a finite number, got {value}")
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        raise InputError(f"{where}: must be a whole number written without a point, got {value!r}")
    if hint is int and isinstance(value, int) and abs(value) >= 2**63:
        raise InputError(f"{where}: must be a whole number below 2^63, got {value}")
    return value


NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


def shown(value: Any) -> str:
    """A value as YAML writes it where Python does otherwise."""
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def _article(name: str) -> str:
    """``a Model``, ``an Objective``."""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _union(value: Any, options: tuple, where: str) -> Any:
    """The first alternative that fits; the message of the first that is not null otherwise."""
    if value is None and type(None) in options:
        return None
    wrong: InputError | None = None
    for option in (o for o in options if o is not type(None)):
        try:
            return fit(value, option, where)
        except InputError as error:
            wrong = wrong or error
    suffix = " (or null)" if type(None) in options else ""
    raise InputError(f"{wrong}{suffix}")


def _sequence(value: Any, hint: Any, origin: type, options: tuple, where: str) -> Any:
    """A list or tuple, of any length or with as many values as ``options``."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(f"{where}: must be a list, got {shown(value)}")
    if len(value) > LONGEST:
        raise InputError(f"{where}: must be at most {LONGEST:,} values, got {len(value):,} values")
    if origin is tuple and options and options[-1] is not Ellipsis:
        if len(value) != len(options):
            raise InputError(f"{where}: must have {len(options)} values, got {list(value)!r}")
        inner = options
    else:
        inner = (options[0] if options else Any,) * len(value)
    return origin(
        fit(element, kind, f"{where}[{i}]")
        for i, (element, kind) in enumerate(zip(value, inner, strict=True))
    )
