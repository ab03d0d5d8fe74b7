"""Views by the kind of input that they show."""

from __future__ import annotations

from components.data.card.views.protocol import View
from components.members import VIEWS


def of_kind(given: str) -> type[View]:
    """What shows inputs of that kind, imported now."""
    view: type[View] = VIEWS.load(given).VIEW
    return view
