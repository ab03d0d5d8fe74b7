"""The one error of this package. Imports nothing, so that all of it can."""

from __future__ import annotations


class UndecodableError(ValueError):
    """Why these bytes are no picture that can be read as it is meant, in words that follow the file's name.

    `key` is the key of the catalogue's `image:` by which it could be read, and which the words name.
    """

    def __init__(self, reason: str, key: str | None = None) -> None:
        super().__init__(reason)
        self.key = key
