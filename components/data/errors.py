"""The error of the data room, and the one rule about data sets' names. Imports nothing, so that anyone can."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class DataError(ValueError):
    """Something is wrong with data: names the file or key, what was expected, what was received, what to do."""


def check_name(name: str) -> str:
    """The name, if it can be a folder of its own and a DVC stage; raises DataError otherwise (`../x`, `a/b`, `a.b`)."""
    if not _NAME.fullmatch(name):
        raise DataError(
            f"datasets.{name}: expected a name of letters, digits, - and _ that starts with a letter or digit, "
            f"received {name!r}; rename the entry in params.yaml"
        )
    return name
