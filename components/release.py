"""What this release is called where it is installed from, and whether it runs from a clone of its repository."""

from __future__ import annotations

from pathlib import Path

DISTRIBUTION = "convoy-cnn"  # on PyPI, where `convoy` is somebody else's
VERSION = "0.1.0"
CODE = Path(__file__).resolve().parents[1]


def cloned() -> bool:
    """Whether the code lies in a project, as in a clone or in a copy of one, and not among installed packages."""
    return (CODE / "params.yaml").is_file()
