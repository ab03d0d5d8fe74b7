"""How a picture is brought to a declared size, and back."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from components import decoding
from components.config import ConfigurationError, parse_entry
from components.config.catalogue import ImageDeclaration
from components.inputs import png
from components.registry.answers import mask

SIDES = st.integers(1, 300)
FITS = ("stretch", "letterbox", "crop")


@settings(deadline=None)  # the machine may be busy
@given(
    st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.sampled_from(FITS), st.tuples(st.floats(0, 1), st.floats(0, 1))
)
def test_a_point_comes_back_to_its_place(
    size: tuple[int, int], whole: tuple[int, int], fit: decoding.Fit, share: tuple[float, float]
) -> None:
    placing = decoding.place(size, whole, fit)
    left, top, right, bottom = placing.taken
    point = left + share[0] * (right - left), top + share[1] * (bottom - top)
    found = placing.there(*point)
    assert -1e-6 <= found[0] <= whole[0] + 1e-6 and -1e-6 <= found[1] <= whole[1] + 1e-6
    assert placing.back(*found) == pytest.approx(point, abs=1e-6)


@settings(deadline=None)  # the machine may be busy
@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_only_stretching_changes_a_shape_and_only_a_letterbox_leaves_room(
    size: tuple[int, int], whole: tuple[int, int]
) -> None:
    stretched, boxed, cropped = (decoding.place(size, whole, fit) for fit in FITS)
    assert stretched.covers == cropped.covers == (0, 0, *whole)
    assert stretched.taken == boxed.taken == (0, 0, *size)
    across, down = cropped.scale
    assert across == pytest.approx(down)
    wide, high = boxed.covers[2] - boxed.covers[0], boxed.covers[3] - boxed.covers[1]
    exact = min(whole[0] / size[0], whole[1] / size[1])
    assert abs(wide - size[0] * exact) <= 1 and abs(high - size[1] * exact) <= 1  # whole pixels, and one at least
    assert wide == whole[0] or high == whole[1]


@pytest.mark.parametrize("size", [(30, 20), (20, 30), (7, 61), (16, 16), (24, 12)])
def test_a_letterbox_and_a_crop_are_what_pillow_makes(size: tuple[int, int]) -> None:
    grain = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(grain)
    form = decoding.Form(16, 24, 3, resize=True)
    boxed = decoding.fit(picture, form._replace(fit="letterbox"))
    np.testing.assert_array_equal(boxed, ImageOps.pad(picture, (24, 16), Image.Resampling.BILINEAR))
    cropped = decoding.fit(picture, form._replace(fit="crop"))
    np.testing.assert_array_equal(cropped, ImageOps.fit(picture, (24, 16), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(60, 40), (40, 60), (48, 32)])
def test_a_mask_lies_on_its_picture_and_is_served_in_its_own_pixels(fit: decoding.Fit, size: tuple[int, int]) -> None:
    # given a picture that shows its mask
    own = np.zeros((size[1], size[0]), dtype=np.uint8)
    own[size[1] // 4 : 3 * size[1] // 4, size[0] // 3 : 2 * size[0] // 3] = 1
    form = decoding.Form(32, 48, 1, resize=True, fit=fit)
    # when both are brought to one size
    placed = png.place_mask(own, form.place(size))
    seen = np.asarray(decoding.fit(Image.fromarray(own * 255), form))
    # then they agree but for the edge, and the answer is what the picture's own mask was
    assert ((seen > 127) == (placed == 1)).mean() > 0.97
    row = mask.write([placed], form.place(size), {"classes": ["nothing", "thing"]})
    served = np.asarray(Image.open(io.BytesIO(base64.b64decode(row["mask"]))))
    assert served.shape == own.shape
    assert (served == own).mean() > 0.96
    assert row["shares"]["thing"] == pytest.approx((1 / 2) * (1 / 3), abs=0.06 if fit != "crop" else 0.2)
    assert sum(row["shares"].values()) == pytest.approx(1.0)


def test_a_declaration_says_once_how_pictures_are_brought_to_its_size() -> None:
    plain = {"height": 8, "width": 8, "channels": 1}
    assert ImageDeclaration.model_validate({**plain, "fit": "letterbox"}).resize
    assert not ImageDeclaration.model_validate({**plain, "fit": "exact"}).resize
    stretched = ImageDeclaration.model_validate({**plain, "fit": "stretch"})
    assert stretched == ImageDeclaration.model_validate({**plain, "resize": True})
    assert "fit" not in stretched.model_dump()  # what is kept of it is what earlier versions kept
    entry = {"task": "classification", "source": {"kind": "digits"}, "image": {**plain, "resize": False, "fit": "crop"}}
    with pytest.raises(ConfigurationError, match=r"image: expected `fit: crop` or `resize: false`"):
        parse_entry("digits", entry)
