"""Bytes → Pillow's image, within the limits of size; whatever goes wrong becomes one error that says why."""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

from PIL import Image, UnidentifiedImageError, _imaging

from .errors import UndecodableError
from .instead import BEGINNING, FORMATS, SAVE, instead
from .orientation import keep_orientation, png_chunks, tag

Frames = Literal["only", "first"]


LARGEST_PIXELS = 64_000_000  # 8000 × 8000: a small file can unpack to gigabytes, so its header is read first
LARGEST_SIDE = 65_535  # JPEG's and GIF's own; weights of resizing grow with a side, not with the pixels
LARGEST_BYTES = 512 * 2**20  # of one encoded image: 64 million pixels of four 16-bit values, not compressed, are 512 MB
_SMALL = 2**20  # pixels of pictures that need no `room`

# What is wrong with a picture is said in its own sentence, and nowhere else.
warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
# Pillow keeps pixels in blocks of 16 MB, which the C library does not give back but keeps for each thread: four threads
# then hold four large pictures that are long gone. Blocks above 32 MB it maps by themselves, and unmaps.
_imaging.set_block_size(64 * 2**20)


def told(error: Exception) -> UndecodableError:
    """The one boundary: whatever a decoder makes of bytes that are not what they claim to be, in words."""
    if isinstance(error, UndecodableError):
        return error
    if isinstance(error, MemoryError):
        return UndecodableError("needs more memory than there is")
    return UndecodableError(f"is damaged or cut short ({_words(error)})")


def _words(error: Exception) -> str:
    """A library's own message: one short line without addresses, which differ from run to run."""
    said = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error))
    said = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in said)
    said = said if len(said) <= 120 else said[:119] + "…"
    return said if isinstance(error, OSError | SyntaxError | ValueError) and said else type(error).__name__


def open_image(content: Any, view: memoryview) -> Image.Image:
    """Within the limits, and nothing decoded. `view` is that of the content's bytes."""
    if view.nbytes > LARGEST_BYTES:
        raise UndecodableError(f"has {view.nbytes:,} bytes, more than the {LARGEST_BYTES:,} that are read")
    stream = io.BytesIO(content)  # which shares what are bytes, and does not copy them
    gif = bytes(view[:4]) == b"GIF8"
    try:
        image = _opened(stream, LARGEST_PIXELS) if gif else Image.open(stream, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        if gif:
            pixels = int(re.findall(r"\d+", str(error))[0])
            raise _too_large(f"{pixels:,} pixels") from None
        image = _opened(stream, None)
    except UnidentifiedImageError:
        raise UndecodableError(instead(bytes(view[:BEGINNING]), view.nbytes)) from None
    except ValueError as error:
        if "MAX_TEXT" not in str(error):
            raise
        image = Image.open(io.BytesIO(_without_text(view)), formats=FORMATS)
    width, height = image.size
    if width * height > LARGEST_PIXELS or max(width, height) > LARGEST_SIDE:
        raise _too_large(f"{width:,} × {height:,} pixels")
    if width * height == 0:
        raise UndecodableError(f"has {width} × {height} pixels")
    if image.format == "TIFF" and _is_raw(image, view):
        raise UndecodableError(f"is a camera's raw file, of which only a preview can be read; develop it, and {SAVE}")
    return image


def _is_raw(image: Image.Image, view: memoryview) -> bool:
    """Whether a TIFF is a DNG, CR2, NEF or the like: its first page is a small preview, the picture lies elsewhere."""
    tags: Any = getattr(image, "tag_v2", {})
    elsewhere = 330 in tags or getattr(image, "is_animated", False)
    return 50706 in tags or bytes(view[8:10]) == b"CR" or bool(tag(image, 254, 0) & 1 and elsewhere)


def _too_large(size: str) -> UndecodableError:
    return UndecodableError(
        f"has {size}, and at most {LARGEST_PIXELS:,}, {LARGEST_SIDE:,} a side, are read; "
        "make it smaller, or cut it into parts"
    )


_limiting = threading.Lock()


def _opened(stream: io.BytesIO, most: int | None) -> Image.Image:
    """Opened within a limit of pixels that is not Pillow's own, which is one for the whole process.

    For a GIF it has to hold while it is opened: Pillow then makes room for what its first frame leaves behind. Other
    formats are opened without one, for their size alone.
    """
    with _limiting:
        usual = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = most if most is None else most // 2  # Pillow refuses what has more than twice as many
        try:
            return Image.open(stream, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def load_frame(image: Image.Image, frames: Frames, least: int | None) -> bool:
    """Decode in place; whether there is more than one frame or page."""
    several = _several(image)
    if several and frames == "only":
        raise UndecodableError(
            f"holds more than one picture ({image.format}: frames or pages); with `image.frames: first` in params.yaml "
            "the first is read",
            "frames",
        )
    if image.format == "TIFF":
        keep_orientation(image)
    if least is not None:
        image.draft(None, (least, least))
    image.load()
    return several


def _several(image: Image.Image) -> bool:
    """Whether there are further frames or pages. The further pictures of an MPO, and pages that a TIFF calls reduced,
    are previews and depth maps: they do not count."""
    if not getattr(image, "is_animated", False) or image.format == "MPO":
        return False
    if image.format != "TIFF":
        return True
    try:
        for page in range(1, 64):
            image.seek(page)
            if not tag(image, 254, 0) & 1:
                return True
    except EOFError:
        return False
    finally:
        image.seek(0)
    return True


def _without_text(content: memoryview) -> bytes:
    """A PNG without texts and colour profile: what Pillow does not unpack for their size has no pixels in it."""
    kept = [content[start:end] for kind, start, end in png_chunks(content) if kind not in (b"zTXt", b"iTXt", b"iCCP")]
    return bytes(content[:8]) + b"".join(kept)


# -- how much at once ------------------------------------------------------------------------------------------------

_free = threading.Condition()
_taken = 0  # pixels of the pictures that are being decoded in this process
_AT_ONCE: AbstractContextManager[None] = nullcontext()
_mine = threading.local()  # what this thread has taken: who waits for itself waits for ever


def room(pixels: int) -> AbstractContextManager[None]:
    """Wait until all large pictures in work, with this one, have at most `LARGEST_PIXELS`: memory for one such is
    enough for all threads. A thread that is inside already goes on."""
    return _AT_ONCE if pixels <= _SMALL or getattr(_mine, "inside", False) else _taking(pixels)


@contextmanager
def _taking(pixels: int) -> Iterator[None]:
    global _taken  # noqa: PLW0603 — one budget for the process
    with _free:
        _free.wait_for(lambda: _taken == 0 or _taken + pixels <= LARGEST_PIXELS)
        _taken += pixels
    _mine.inside = True
    try:
        yield
    finally:
        _mine.inside = False
        with _free:
            _taken -= pixels
            _free.notify_all()
