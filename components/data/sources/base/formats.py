"""By which names files are known as pictures; which format each is in is told by its content."""

from __future__ import annotations

from pathlib import PurePosixPath

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".jp2", ".j2k"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
)


def is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES
