"""Eyes by the kind of input that they look at."""

from __future__ import annotations

from components.data.inspection.eyes.protocol import Eye
from components.members import EYES


def of_kind(given: str) -> type[Eye]:
    """What looks at inputs of that kind, imported now."""
    eye: type[Eye] = EYES.load(given).EYE
    return eye
