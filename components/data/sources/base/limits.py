"""How much a file may become in memory. Numbers in a file are held against these, and against its size, before they are
believed: nothing of up to 20 MB takes more than a gigabyte at any reader. A large file may become as much as it is.
"""

from __future__ import annotations

from pathlib import Path

from components import decoding
from components.data.errors import DataError

PIECE = 2**27  # bytes of what is unpacked in one piece: a page of a table, the labels of an idx file
RATIO = 16  # times its packed size, where that is more
VALUES = 2**27  # bytes of the values that are read at a time, were all of them as long as the longest
HELD = 2**28  # bytes of the columns that are held for the whole table (names, labels, groups)
NAME = 2**16  # bytes of one of them
TEXT = 2**23  # bytes of a text that is a sample: the longest novels have four million characters
ROWS = 2_000_000  # of a table whose rows name files, however small it is; ImageNet has 1.3 million
ROW = 16  # bytes that one of them has at least, where there are more
LABELS = 4_000_000  # of the rows of such a table together, however small it is
LABEL = 4  # bytes that one of them has at least, where there are more
COLUMNS = 20_000  # of a table; pictures of 128 × 128 whose pixels are columns have 16,385
PICTURES = 400_000  # in one file, however small: looked through, each takes two kilobytes
PICTURE = 64  # bytes that one of them has at least, where there are more


def check_rows(path: Path, rows: int, size: int) -> None:
    """Raises DataError for more rows than a table of `size` bytes is believed to have."""
    _check_many(path, "rows", rows, size, max(ROWS, size // ROW))


def check_labels(path: Path, labels: int, size: int) -> None:
    """Raises DataError for more labels than the lists of a table of `size` bytes are believed to have."""
    _check_many(path, "labels", labels, size, max(LABELS, size // LABEL))


def check_pictures(path: Path, pictures: int, size: int) -> None:
    """Raises DataError for more pictures than a file of `size` bytes, which holds them, is believed to have."""
    _check_many(path, "pictures", pictures, size, max(PICTURES, size // PICTURE))


def check_columns(path: Path, columns: int) -> None:
    """Raises DataError for a table that is wider than any that was meant as one."""
    if columns > COLUMNS:
        raise DataError(
            f"{path}: expected at most {COLUMNS:,} columns, received more; a row is an image, and a column what is "
            "known of it"
        )


def _check_many(path: Path, what: str, number: int, size: int, most: int) -> None:
    if number > most:
        raise DataError(
            f"{path}: expected at most {most:,} {what} from {size:,} bytes, received {number:,}; "
            "write it as several files, or check how it was made"
        )


def check_held(path: Path, held: int) -> None:
    """Raises DataError where a table's names and labels take more memory than their file can mean."""
    most = max(HELD, RATIO * path.stat().st_size)
    if held > most:
        raise DataError(
            f"{path}: expected at most {most:,} bytes of names and labels, received more; name the column that holds "
            "what is meant, and pictures as bytes"
        )


def check_picture(path: Path, height: int, width: int) -> None:
    """Raises DataError for pictures of a size that no picture in a file of its own may have."""
    pixels, side = decoding.LARGEST_PIXELS, decoding.LARGEST_SIDE
    if not 0 < height * width <= pixels or max(height, width) > side:
        raise DataError(
            f"{path}: expected pictures of 1 to {pixels:,} pixels, {side:,} a side, received {width:,} × {height:,}"
        )
