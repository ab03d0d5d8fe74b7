"""Every kind of picture through `prepare` and through a package that is served: the same bytes, or the same words."""

from __future__ import annotations

import itertools
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image, ImageCms

from components import decoding
from components.artifacts import ImageSpec
from components.config import ImageDeclaration
from components.inputs import describing
from components.inputs import png as stored_png
from components.inputs.image import decode
from components.registry import registration, served
from components.registry.memory import manifest
from tests.components.picture_builders import chunk, encoded, exif, noise, png, tiff, with_exif
from tests.components.registry.registry_builders import build_model

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I;16B", "I", "F")
SIZES = ((10, 8), (1, 1), (1, 9), (31, 23), (5, 4))  # width, height; the first is the declared one


def of_mode(mode: str, width: int, height: int) -> Image.Image:
    colour = Image.fromarray(noise(height, width))
    if mode == "I;16":
        return Image.fromarray(noise(height, width, 1).astype(np.uint16) * 257)
    if mode == "I;16B":
        return Image.fromarray((noise(height, width, 1).astype(np.uint16) * 16).astype(">u2"))
    if mode == "F":
        return Image.fromarray(noise(height, width, 1).astype(np.float32) / np.float32(255))
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(colour, *profiles, outputMode="LAB")  # type: ignore[return-value]
    see_through = mode in ("RGBA", "LA", "PA")
    return (Image.fromarray(noise(height, width, 4)) if see_through else colour).convert(mode)


def written() -> Iterator[tuple[str, bytes]]:
    """Whatever Pillow can write."""
    for form, mode, (width, height) in itertools.product(FORMATS, MODES, SIZES):
        try:
            yield f"{form} {mode} {width}×{height}", encoded(of_mode(mode, width, height), form)
        except (OSError, ValueError, KeyError):
            continue


def by_hand() -> Iterator[tuple[str, bytes]]:
    """What Pillow cannot write, and what is refused; of the declared size."""
    rows = [row.tobytes() for row in noise(8, 10)]
    grey = [row.tobytes() for row in noise(8, 10, 1)]
    deep = [np.arange(10, dtype=">u2").tobytes()] * 8
    key = chunk(b"tRNS", noise(8, 10)[0, 0].astype(">u2").tobytes())
    colours = chunk(b"PLTE", noise(1, 256).tobytes())
    flat = noise(8, 10, 1).astype(np.uint16).tobytes()
    yield "PNG RGB with a key", png(10, 8, 8, 2, rows, key)
    yield "PNG L with a key", png(10, 8, 8, 0, grey, chunk(b"tRNS", b"\0" + grey[0][:1]))
    yield "PNG I;16 with a key", png(10, 8, 16, 0, deep, chunk(b"tRNS", b"\0\3"))
    yield "PNG 2 bits with a key", png(10, 8, 2, 0, [b"\x1b\x1b\x10"] * 8, chunk(b"tRNS", b"\0\1"))
    yield "PNG 1 bit with a key", png(10, 8, 1, 0, [b"\x5a\x80"] * 8, chunk(b"tRNS", b"\0\1"))
    yield "PNG RGB of 16 bits", png(10, 8, 16, 2, [noise(1, 30, 1).astype(">u2").tobytes()] * 8)
    yield "PNG P with alpha", png(10, 8, 8, 3, grey, colours, chunk(b"tRNS", bytes(range(256))))
    yield "TIFF of 12 bits", tiff(10, 8, noise(8, 15, 1).tobytes(), bits=12)
    for order, photometric in (("<", 0), ("<", 1), (">", 1)):
        yield f"TIFF of 16 bits {order} {photometric}", tiff(10, 8, flat, order, bits=16, photometric=photometric)
    yield "TIFF signed", tiff(10, 8, flat, bits=16, format=2)
    yield "TIFF of 32 bits", tiff(10, 8, flat * 2, bits=32)
    yield "TIFF of 1 bit, 0 is white", tiff(10, 8, b"\x5a\x80" * 8, bits=1, photometric=0)
    yield "TIFF in a tile", tiff(10, 8, noise(16, 16, 1).tobytes(), tile=16)
    yield "TIFF with NaN", tiff(10, 8, struct.pack("<f", np.nan) * 80, bits=32, format=3)
    frames = [Image.new("L", (10, 8), level) for level in (0, 255)]
    for form in ("GIF", "PNG", "WEBP", "TIFF"):
        yield f"{form} of two frames", encoded(frames[0], form, save_all=True, append_images=frames[1:])
    jpeg = encoded(Image.fromarray(noise(8, 10)), "JPEG")
    lying = encoded(Image.fromarray(noise(10, 8)), "JPEG")
    for orientation in range(1, 9):
        yield f"JPEG lying {orientation}", with_exif(jpeg if orientation < 5 else lying, exif(orientation))
        side = (10, 8) if orientation < 5 else (8, 10)
        yield f"TIFF lying {orientation}", tiff(*side, noise(8, 10, 1).tobytes(), orientation=orientation)
    yield "cut short", jpeg[:-40]
    yield "HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)
    yield "too large", png(9000, 9000, 1, 0, [b"\0"])
    yield "PostScript", b"%!PS-Adobe-3.0\n{} loop\n"


PICTURES = [*written(), *by_hand()]


def trained(pictures: list[bytes], declared: ImageDeclaration) -> list[bytes | str]:
    """What training reads of each: the pixels in the prepared shard, or why validation stops."""
    described = describing.describe(pa.array(pictures, pa.binary()), declared)
    spec = card(declared)
    answers: list[bytes | str] = []
    for row, stored in enumerate(described.stored.to_pylist()):
        said = {name: column[row].as_py() for name, column in described.facts.items()}
        fits = (said["width"], said["height"], said["mode"]) == (
            declared.width,
            declared.height,
            decoding.MODE[declared.channels],
        )
        if said["problem"] is not None:
            answers.append(said["problem"])
        elif fits:
            pixels = decode(stored, spec)
            assert (
                describing._digest(pixels, *pixels.shape) == said["pixels_sha256"]
            )  # of the very pixels that are read
            answers.append(pixels.tobytes())
        elif (said["width"], said["height"]) == (declared.width, declared.height):
            answers.append(f"{said['width']}×{said['height']} in mode {said['mode']}")
        else:
            answers.append(f"received {said['width']}×{said['height']}")
    return answers


def card(declared: ImageDeclaration) -> ImageSpec:
    return ImageSpec(mean=(0.5,), std=(0.5,), **declared.model_dump())


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> served.ServedNetwork:
    """The decoding that a package has in it: a copy, loaded from there."""
    folder = tmp_path_factory.mktemp("package")
    model = build_model(folder / "own")
    registration.build_package(model, folder / "package", [encoded(Image.new("L", (4, 4)), "PNG")])
    assert not list(folder.rglob("*.pyc"))
    loaded = mlflow.pyfunc.load_model(str(folder / "package")).unwrap_python_model()
    assert not list(folder.rglob("*.pyc"))
    own = loaded.reader.decoding
    assert Path(own.__file__).is_relative_to(folder) and own.read is not decoding.read
    return loaded  # type: ignore[no-any-return]


def answers(network: served.ServedNetwork, pictures: list[bytes], declared: ImageDeclaration) -> Iterator[bytes | str]:
    network.reader.form = network.reader.decoding.Form.of(card(declared).model_dump(mode="json"))
    for row, content in enumerate(pictures):
        try:
            pixels, _ = network.read(content, row)
            yield pixels.tobytes()
        except MlflowException as error:
            yield str(error.message).removeprefix(f"row {row}, column `image`: ")


DECLARED = [
    ImageDeclaration(height=8, width=10, channels=channels, resize=resize, **more)
    for channels, resize in itertools.product((1, 3), (False, True))
    for more in ({}, {"range": (0.0, 4095.0), "frames": "first"})
] + [
    ImageDeclaration.model_validate({"height": 8, "width": 10, "channels": channels, "fit": fit})
    for channels, fit in ((1, "crop"), (3, "letterbox"))
]


@pytest.mark.parametrize("declared", DECLARED, ids=str)
def test_each_picture_is_trained_on_as_it_is_served(declared: ImageDeclaration, network: served.ServedNetwork) -> None:
    names, pictures = zip(*PICTURES, strict=True)
    ones = trained(list(pictures), declared)
    read = refused = 0
    for name, one, other in zip(names, ones, answers(network, list(pictures), declared), strict=True):
        if isinstance(one, str):
            assert isinstance(other, str) and one in other, name  # for the same reason, in the same words
            refused += 1
        else:
            assert one == other, name
            read += 1
    assert len(pictures) > 300 and refused >= 4
    assert read > (250 if declared.resize else 25)


def test_a_colour_that_is_see_through_is_white_for_both_with_and_without_resizing(
    network: served.ServedNetwork,
) -> None:
    """A network was trained without the transparency that serving laid over white: half of its owner's files came out
    wrong, with all gates passed."""
    red = chunk(b"tRNS", struct.pack(">HHH", 255, 0, 0))
    content = png(4, 4, 8, 2, [bytes([255, 0, 0] * 4)] * 4, red)
    declared = ImageDeclaration(height=2, width=2, channels=3, resize=True)
    (one,), (other,) = trained([content], declared), answers(network, [content], declared)
    assert one == other == bytes([255] * 12)
    strict = ImageDeclaration(height=4, width=4, channels=3)
    (one,), (other,) = trained([content], strict), answers(network, [content], strict)
    assert one == "4×4 in mode RGB with transparency" and str(one) in str(other)


def test_a_package_answers_by_its_own_decoding(tmp_path: Path) -> None:
    # given a package whose files that decode differ from those of the Convoy that is installed
    model = build_model(tmp_path / "own")
    package = tmp_path / "package"
    registration.build_package(model, package, [encoded(Image.new("L", (4, 4)), "PNG")])
    (marked,) = package.rglob("opening.py")
    marked.write_text(marked.read_text().replace("is damaged or cut short", "is broken"))
    manifest.write(package)  # as that Convoy would have registered it
    # then it is the package's that is run, and both live side by side
    loaded = mlflow.pyfunc.load_model(str(package))
    cut = encoded(Image.fromarray(noise(9, 9)), "PNG")[:90]
    with pytest.raises(ValueError, match="row 1, column `image`: is broken"):
        loaded.predict(pd.DataFrame({"image": [encoded(Image.new("L", (9, 9), 255), "PNG"), cut]}))
    with pytest.raises(decoding.UndecodableError, match="is damaged or cut short"):
        decoding.decode(cut)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process has taken at most is read from /proc")
@pytest.mark.parametrize(
    ("mode", "side", "count", "most"),
    [("L", 4000, 16, 60), pytest.param("RGB", 8000, 12, 1000, marks=pytest.mark.slow)],  # pixels, and MB
)
def test_a_request_takes_the_memory_of_one_picture(
    mode: str, side: int, count: int, most: int, network: served.ServedNetwork
) -> None:
    """64 PNGs of 8000 × 8000, 17 MB in all, took 21 GB, since each was kept for its size."""
    table = pd.DataFrame({"image": [encoded(Image.new(mode, (side, side)), "PNG")] * count})
    network.reader.form = network.reader.decoding.Form(4, 4, 1, resize=True)
    Path("/proc/self/clear_refs").write_text("5")  # what was taken at most is counted anew
    before = taken("VmRSS")
    network.predict(None, table)
    assert taken("VmHWM") - before < most


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process has taken at most is read from /proc")
@pytest.mark.parametrize(("mode", "resize"), [("RGB", True), ("RGBA", False)])
def test_preparing_takes_the_memory_of_one_large_picture_too(mode: str, resize: bool) -> None:
    large = pa.array([encoded(Image.new(mode, (8000, 8000)), "PNG")] * 6, pa.binary())
    declared = ImageDeclaration(height=28, width=28, channels=3, resize=resize)
    Path("/proc/self/clear_refs").write_text("5")
    before = taken("VmRSS")
    described = describing.describe(large, declared)  # in four threads
    assert taken("VmHWM") - before < 1000
    assert described.facts["width"][0].as_py() == (28 if resize else 8000)


def taken(name: str) -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def test_images_that_are_stored_are_read_back_by_the_same_rule() -> None:
    # given a photograph of the declared size, which is stored as it is, and one that had to be turned
    photograph = encoded(Image.fromarray(noise(8, 10)), "JPEG")
    lying = with_exif(encoded(Image.fromarray(noise(10, 8)), "JPEG"), exif(6))
    declared = ImageDeclaration(height=8, width=10, channels=3)
    described = describing.describe(pa.array([photograph, lying], pa.binary()), declared)
    stored = described.stored.to_pylist()
    assert stored[0] == photograph and stored_png.decode_stored(described.stored.slice(1)) is not None
    for content, before in zip(stored, (photograph, lying), strict=True):
        assert np.array_equal(decode(content, card(declared)), np.asarray(decoding.decode(before).image))
