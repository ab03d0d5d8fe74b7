"""What one check found, and how checks speak of addresses and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]
MARKS: dict[Level, str] = {"ok": "✓", "warning": "!", "error": "✗"}
# Within which hosts and ports answer where they are well; behind a firewall that drops what it gets they never do.
ANSWER_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found there, and where that is not well, the way on."""

    level: Level
    check: str
    found: str
    way: str = ""


def size(count: float) -> str:
    """Bytes in words, in powers of 1,024."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit in ("bytes", "KB") or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
