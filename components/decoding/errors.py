"""The one error of this package. Imports nothing, so that all of it can."""

from __future__ import annotations


class UndecodableError(ValueError):
    """Why these bytes are no picture that can be read as it is meant, in words that follow the file's name."""
