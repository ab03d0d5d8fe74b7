"""What a file is that is no picture, by its first bytes; and what to do about it."""

from __future__ import annotations

import codecs

# What is read, by Pillow's names: none of them runs a program, and all have a signature.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
BEGINNING = 1024  # bytes that are looked at
SAVE = "save it as PNG or JPEG"
_UNREAD = f"which is not read; {SAVE}"
_SLICES = "which is not read; save its pictures as PNG or TIFF"
_FRAMES = "save its frames as PNG or JPEG"
_PROGRAM = f"a program, which is not run; {SAVE}"
_RAW = f"a camera's raw file; develop it, and {SAVE}"

# (offset, signature) → what it is, in this order.
_SIGNATURES: dict[tuple[int, bytes], str] = {
    (0, b"%PDF-"): "a PDF; save its pages as PNG",
    (0, b"%!PS"): f"PostScript, {_PROGRAM}",
    (0, b"\xc5\xd0\xd3\xc6"): f"PostScript, {_PROGRAM}",
    (0, b"version https://git-lfs.github.com/spec/"): "a pointer of Git LFS, not the file itself; run `git lfs pull`",
    (0, b"/annex/objects/"): "a pointer of git-annex, not the file itself; run `git annex get .`",
    (0, b"8BPS"): f"a Photoshop document, {_UNREAD}",
    (0, b"gimp xcf"): f"a GIMP document, {_UNREAD}",
    (0, b"\xff\x0a"): f"JPEG XL, {_UNREAD}",
    (0, b"\0\0\0\x0cJXL "): f"JPEG XL, {_UNREAD}",
    (0, b"II\xbc\x01"): f"JPEG XR, {_UNREAD}",
    (0, b"\0\0\1\0"): f"an icon (ICO), {_UNREAD}",
    (0, b"icns"): f"an icon (ICNS), {_UNREAD}",
    (0, b"DDS "): f"a texture (DDS), {_UNREAD}",
    (0, b"v/1\1"): f"OpenEXR, {_UNREAD}",
    (0, b"#?RADIANCE"): f"Radiance HDR, {_UNREAD}",
    (0, b"SIMPLE  ="): f"FITS, {_SLICES}",
    (128, b"DICM"): f"DICOM, {_SLICES}",
    (344, b"n+1\0"): f"NIfTI, {_SLICES}",
    (344, b"ni1\0"): f"NIfTI, {_SLICES}",
    (0, b"\x89HDF\r\n\x1a\n"): f"HDF5, {_SLICES}",
    (0, b"\x93NUMPY"): "a NumPy array, not one picture: a source of kind `arrays` has those",
    (0, b"PAR1"): "a Parquet file, not one picture: sources of the kinds `manifest` and `huggingface` have those",
    (0, b"PK\3\4"): "a ZIP archive or an office document; unpack it",
    (0, b"\x1f\x8b"): "packed by gzip; unpack it",
    (0, b"BZh"): "packed by bzip2; unpack it",
    (0, b"\xfd7zXZ\0"): "packed by xz; unpack it",
    (0, b"(\xb5/\xfd"): "packed by Zstandard; unpack it",
    (0, b"7z\xbc\xaf\x27\x1c"): "a 7-Zip archive; unpack it",
    (0, b"Rar!\x1a\x07"): "a RAR archive; unpack it",
    (257, b"ustar"): "a tar archive; unpack it",
    (0, b"\x1a\x45\xdf\xa3"): f"a video (Matroska or WebM); {_FRAMES}",
    (8, b"AVI "): f"a video (AVI); {_FRAMES}",
    (0, b"\0\5\x16\7"): "what macOS keeps beside a file (AppleDouble), not the file itself; leave it out",
    (0, b"\xd0\xcf\x11\xe0"): "an office document or a folder's thumbnails (OLE); leave it out",
    (0, b"FUJIFILMCCD-RAW"): _RAW,
    (0, b"IIRO"): _RAW,
    (0, b"IIU\0"): _RAW,
}
_READ: dict[tuple[int, bytes], str] = {
    (0, b"\xff\xd8\xff"): "JPEG",
    (0, b"\x89PNG\r\n\x1a\n"): "PNG",
    (8, b"WEBP"): "WEBP",
    (0, b"BM"): "BMP",
    (0, b"GIF8"): "GIF",
    (0, b"\0\0\0\x0cjP  "): "JPEG 2000",
    (0, b"\xff\x4f\xff\x51"): "JPEG 2000",
}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIC = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_TEXTS = {
    ("<!doctype html", "<html", "<head"): "an HTML page, as servers send it in place of a file; fetch it again",
    ("<svg",): "SVG, a drawing without pixels; save it as PNG",
    ("<?xml",): "XML, not a picture",
    ("{", "["): "JSON, not a picture",
}


def instead(start: bytes, size: int) -> str:
    """Words that follow the file's name, by its first 1,024 bytes and its size."""
    if size == 0:
        return "is empty (0 bytes)"
    other = _signed(start, _SIGNATURES) or (_container(start) if start[4:8] == b"ftyp" else None)
    if other is not None:
        return f"is {other}"
    own = _signed(start, _READ)
    if own is not None:
        return f"begins like {own}, but its header is damaged, or of a kind that this Pillow does not read"
    if start.startswith(_TIFF):
        return (
            "is TIFF of a kind that Pillow does not read (its channels, their bits, or its compression); save it with "
            "1, 3 or 4 channels of 8 bits, or as PNG"
        )
    if not any(start):
        return f"begins with nothing but zeros ({size:,} bytes): it was not copied whole"
    return _text(start) or f"is none of {', '.join(FORMATS)}: it begins with the bytes {start[:8].hex(' ')}"


def _signed(start: bytes, signatures: dict[tuple[int, bytes], str]) -> str | None:
    return next((said for (at, signature), said in signatures.items() if start.startswith(signature, at)), None)


def _container(start: bytes) -> str:
    """Of what HEIC, AVIF and videos share, by its brands."""
    length = min(max(int.from_bytes(start[:4], "big"), 16), len(start))
    brands = {start[8:12], *(start[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return f"AVIF that is damaged, or that this Pillow does not read; {SAVE}"
    if brands & _HEIC:
        return (
            "HEIC, as telephones write it, which is not read; convert it to JPEG or PNG, for example with ImageMagick"
        )
    return _RAW if b"crx " in brands else f"a video (MP4 or QuickTime); {_FRAMES}"


def _text(start: bytes) -> str | None:
    """Of text, its kind or its first words; None for what is none."""
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:  # the last letter may be cut
        words = codecs.getincrementaldecoder(encoding)().decode(start).lstrip("\ufeff").strip()
    except UnicodeDecodeError:
        return None
    if not words or any(ord(letter) < 9 for letter in words):
        return None
    if "<svg" in words.lower():
        words = "<svg"
    for beginnings, said in _TEXTS.items():
        if words.lower().startswith(beginnings):
            return f"is {said}"
    first = words.splitlines()[0]
    return f"is text, not a picture: {first[:40]!r}{'…' if len(first) > 40 else ''}"
