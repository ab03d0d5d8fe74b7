"""Where files from outside are read: whatever goes wrong with one becomes one DataError, in a sentence that names it.

No reader lists the exceptions that its libraries are known to raise, since nobody knows them all. A reader says what it
was reading (`reading`), and the registry says it for all of them; the innermost word counts. What is wrong may be a
fault of ours all the same: the exception stays behind the sentence (`__cause__`), and whoever shows the one keeps the
other.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from components import texts
from components.config import ConfigurationError
from components.data.errors import DataError

LONGEST = 160  # characters of a library's own message
ADVICE = "put it right or fetch it again, or leave it out"
# What is wrong is the machine's, not the file's: others have words for that.
_MACHINES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS})

Item = TypeVar("Item")


@contextmanager
def reading(where: Path | str, expected: str, advice: str = ADVICE) -> Iterator[None]:
    """Turns any exception but our own into a DataError: `WHERE: expected EXPECTED, received …; ADVICE`.

    What no file can be blamed for passes: interruptions, a full disk, a name or a module that the program lacks.
    """
    try:
        yield
    except (DataError, ConfigurationError, NameError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _MACHINES:
            raise
        raise DataError(
            f"{where}: expected {expected}, received one that cannot be read: {words(error, where)}; {advice}"
        ) from error


def each(items: Iterable[Item], where: Path | str, expected: str) -> Iterator[Item]:
    """The same items, each of which comes through `reading`."""
    iterator = iter(items)
    while True:
        with reading(where, expected):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def words(error: Exception, where: Path | str = "") -> str:
    """What a library says, in one short line; in words of ours where it says nothing that a person could use."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename and str(error.filename) != str(where) else ""
        return texts.shown(f"{named}{error.strerror}", LONGEST)
    said = str(error).strip().partition("\n")[0]
    # Of lookups and of faults in a program the message alone is a riddle.
    plain = isinstance(error, ValueError | RuntimeError | OSError | EOFError) or type(error).__module__ != "builtins"
    return texts.shown(said if said and plain else f"{type(error).__name__}{': ' if said else ''}{said}", LONGEST)
