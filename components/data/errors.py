"""The error about data, and the one rule about data sets' names. Imports next to nothing, so that anyone can."""

from __future__ import annotations

import re

from components import texts

LONGEST_NAME = 100  # characters: folders and files are called after it, with more before and behind
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class DataError(ValueError):
    """Something is wrong with data: names the file or key, what was expected, what was received, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(texts.printable(message))


def check_name(name: str) -> str:
    """The name, if it can be a folder of its own, a DVC stage and a bare word of YAML; raises DataError otherwise
    (`../x`, `a/b`, `a.b`; `null`, `123`, `1e3` and `2024-13-45`, which are no texts to one reader or another).
    """
    received = texts.exact(str(name))
    if not _NAME.fullmatch(str(name)) or len(str(name)) > LONGEST_NAME:
        raise DataError(
            f"datasets.{texts.shown(str(name))}: expected a name of letters, digits, - and _ that starts with a letter "
            f"or digit, at most {LONGEST_NAME} characters, received {received}; give the entry another"
        )
    if not isinstance(name, str) or not texts.is_word(name):
        raise DataError(
            f"datasets.{name}: expected a name that is a text in YAML, received {received}, which is read as a number, "
            f"a date or a word of its own; give the entry another, such as set-{name}"
        )
    return name
