"""Why a text is no override: which character, where, and what to write instead."""

from __future__ import annotations

import re

from latentrun.config.options import GROUPS, options, shipped

BRACKETS = {"[": "]", "{": "}", "(": ")"}
FUNCTIONS = "choice range interval glob sort shuffle tag str int float bool".split()
ODD = ";&#!<>^~`=@*?"  # characters that Hydra's grammar has no place for in a value, or not in any place


def slip(text: str, after: str) -> str:
    """Why Hydra's grammar does not take a text, guessed from how people mistype; ``after``: what follows it
    on the command line."""
    key, equals, value = text.partition("=")
    if not equals:
        return _without_value(text, after)
    if key != key.strip() or value != value.lstrip():
        return f"no spaces around '=': {key.strip()}={value.strip()}"
    if value.startswith("="):
        return f"{_at(text, len(key) + 1)}: one is enough: {key}={value.lstrip('=')}"
    if not re.fullmatch(r"[+~]{0,2}\w[\w/@-]*(\.\w+)*", key, re.ASCII):
        return f"{key!r} is no key; keys are names with points between them: model.latent_dim=3"
    return _in_value(text, len(key) + 1, after)


def _without_value(text: str, after: str) -> str:
    """What is wrong with a text that has no equals sign."""
    for group in GROUPS:
        if text in options(group, [shipped()]):
            return f"write {group}={text}"
    if after.startswith("="):
        return f"no spaces around '=': {text}={after.lstrip('=') or '...'}"
    if re.fullmatch(r"[\w.]+:.*", text):
        return f"write {re.sub(':[ ]*', '=', text, count=1)}"
    return "write key=value"


def _in_value(text: str, start: int, after: str) -> str:
    """What is wrong behind the equals sign, the value beginning at ``start``."""
    bracket = _open(text, start)
    if bracket is not None:
        return bracket
    comma = re.search(r",(?=\s*([,\])}]|$))|(?<=[\[({=])\s*,", text)
    if comma is not None and comma.end() == len(text.rstrip()) and after:
        return f"{_at(text, comma.start())}: no space after a comma: {text.rstrip()}{after}"
    if comma is not None:
        return f"{_at(text, text.index(',', comma.start()))}: no value stands on one side of it"
    function = re.match(r"(\w+)\(", text[start:])
    if function is not None:
        wrong = "its values do not fit" if function[1] in FUNCTIONS else "no such function"
        return f"{wrong}; several values are given as key=1,2,3, as key=range(1,4) or as key=choice(1,2,3)"
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", lambda match: " " * len(match[0]), text)
    place = next((i for i in range(start, len(text)) if bare[i] in ODD or not bare[i].isprintable()), None)
    if place is None:
        return "a text with special characters stands in quotes of its own: \"key='a: b'\""
    if text[place] == ";" and place == len(text) - 1:
        return f"{_at(text, place)}: leave it out: {text[:place]}"
    if text[place] == ";":
        return f"{_at(text, place)}: a space, and no ';', stands between overrides"
    return f"{_at(text, place)}: such a text stands in quotes of its own: \"key='a: b'\""


def _open(text: str, start: int) -> str | None:
    """The first quote or bracket from ``start`` on that is not closed, or closes nothing; None where all
    is well."""
    opened: list[int] = []
    place = start
    while place < len(text):
        sign = text[place]
        if sign in "'\"":
            end = text.find(sign, place + 1)
            if end < 0:
                return f"{_at(text, place)} is a quote that is not closed"
            place = end
        elif sign in BRACKETS:
            opened.append(place)
        elif sign in BRACKETS.values():
            if not opened or BRACKETS[text[opened[-1]]] != sign:
                return f"{_at(text, place)} closes nothing"
            opened.pop()
        place += 1
    if opened:
        return f"{_at(text, opened[-1])} is not closed, or the list not quoted: 'key=[a,b]'"
    return None


def _at(text: str, place: int) -> str:
    """``';' at character 10``, counted from 1."""
    return f"{text[place]!r} at character {place + 1}"
