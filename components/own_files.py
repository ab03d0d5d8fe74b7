"""The files that a project keeps for itself, read with doubt: a full disk, a killed process or a restored back-up may
have left anything in their place. What a file means is its reader's business, and whether it can be made again.
"""

from __future__ import annotations

import shutil
from pathlib import Path


def text(path: Path) -> str | None:
    """What a file says; None where there is none, or something that is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Move what is damaged out of the way, to `NAME.damaged` beside it, and return where it is; an older one goes."""
    place = path.with_name(f"{path.name}.damaged")
    remove(place)
    return path.rename(place)
