"""From what is typed in a shell to what Hydra's grammar reads: paths and conditions stand for themselves,
with whatever characters they have."""

from __future__ import annotations

import re

from latentrun.config.options import PARTS

TEXTS = ("output", "run", "resume", "where", "path", "file", "root", "table", "labels", "dir", "features")
LISTS = ("runs", "trust")  # keys of one text or of a list of them
CONDITION = "where"  # has commas of its own
FUNCTIONS = r"(choice|range|interval|glob|sort|shuffle|tag)\(.*\)"
QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
READY = rf"(?:null|{QUOTED})(,(?:null|{QUOTED})?)*"  # texts that need no more
PLAIN = r"(?!(?i:true|false|nan|inf|null)$)[A-Za-z./~][A-Za-z0-9_./~-]*"  # no number, no sign of the grammar
# What stands between two of the grammar's own signs and has a letter of another alphabet.
FOREIGN = r"""[^,:=\[\]{}()'"]*[^\x00-\x7f,:=\[\]{}()'"][^,:=\[\]{}()'"]*"""


def quoted(text: str) -> str:
    """A text for Hydra's grammar, in quotes that keep every character.

    >>> quoted("it's a=b")
    "'it\\\\'s a=b'"
    """
    # Only before a quote a backslash is more than itself.
    inner = re.sub(r"(\\+)$", r"\1\1", re.sub(r"(\\*)'", r"\1\1\\'", text))
    return f"'{inner}'"


def typed(text: str, sweep: bool = False) -> str:
    """An override as Hydra reads it. ``sweep``: commas part the values of a sweep.

    >>> typed("run=outputs/0_seed=1"), typed("data.drop=[größe,price]")
    ("run='outputs/0_seed=1'", "data.drop=['größe',price]")
    """
    key, equals, value = text.partition("=")
    name = key.rpartition(".")[2]
    if not equals or re.fullmatch(READY, value):
        return text
    if name in (*TEXTS, *LISTS) and re.fullmatch(r"[\w.+]+", key):
        return f"{key}={_text(name, value, sweep)}"
    # A part of an option is chosen as if it were a value; for Hydra it is an option in a place of its own.
    if (
        name in PARTS
        and name != key
        and "@" not in key
        and re.fullmatch(r"[\w,]+", value)
        and value != "null"
    ):
        return f"{name}@{key}={value}"
    if re.fullmatch(FOREIGN, value):
        return f"{key}={quoted(value)}"
    return f"{key}={re.sub(rf'{QUOTED}|{FOREIGN}', _foreign, value)}"


def _text(name: str, value: str, sweep: bool) -> str:
    """The value of a key that is a text, or a list of texts."""
    if name in LISTS and value.startswith("[") and value.endswith("]"):
        return f"[{_each(value[1:-1])}]"
    if name == "trust" or (name != CONDITION and re.fullmatch(FUNCTIONS, value)):
        return value
    if sweep and "," in value and name != CONDITION:
        return _each(value)
    return value if re.fullmatch(PLAIN, value) else _one(value)


def _each(values: str) -> str:
    """Texts with commas between them; those in quotes may have commas too."""
    parts = re.findall(rf"(?:{QUOTED}|[^,])+|(?<=,)(?=,|$)", values)
    return ",".join(_one(part.strip()) for part in parts)


def _one(value: str) -> str:
    """A text in quotes; as it is where it has them, says that there is none, or has a slip before it."""
    bare = value.strip()
    if bare in ("", "null", "???") or value != value.lstrip() or re.fullmatch(QUOTED, bare):
        return value
    return quoted(value)


def _foreign(match: re.Match) -> str:
    part = match[0]
    if part[0] in "'\"":
        return part
    bare = part.strip()
    return part.replace(bare, quoted(bare))
