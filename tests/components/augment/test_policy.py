"""Augmentation: what must not happen is that masks and images part ways, or that a seed does not repeat."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage
from torch import Tensor

from components.augment.policy import Transform, augment
from components.augment.preview import preview
from components.config import AugmentConfig
from components.targets.mask import TARGET

EVERYTHING = AugmentConfig(
    crop=2, flip=0.5, rotation=10, scale=0.1, shear=5, brightness=0.2, contrast=0.2, colour=0.3, erase=0.5
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(masks: Tensor, transform: Transform) -> Tensor:
    return transform.pixels(masks)


def pictures(samples: int = 6, channels: int = 3, height: int = 12, width: int = 16) -> Tensor:
    return torch.rand(samples, channels, height, width, generator=seeded(7))


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_switched_on_changes_nothing(channels: int) -> None:
    images, targets = pictures(channels=channels), torch.arange(6)
    augmented, same = augment(images, targets, AugmentConfig(), seeded())
    assert torch.equal(augmented, images)
    assert torch.equal(same, targets)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_flip_is_the_exact_mirror_image(channels: int) -> None:
    images = pictures(channels=channels)
    augmented, _ = augment(images, torch.arange(6), AugmentConfig(flip=1.0), seeded())
    assert torch.equal(augmented, images.flip(3))


def test_a_flip_takes_some_samples_and_leaves_others() -> None:
    images = pictures(samples=400, channels=1)
    augmented, _ = augment(images, torch.zeros(400), AugmentConfig(flip=0.25), seeded())
    mirrored = (augmented == images.flip(3)).flatten(1).all(1)
    untouched = (augmented == images).flatten(1).all(1)
    assert torch.equal(mirrored, ~untouched)
    assert 0.18 < mirrored.float().mean() < 0.32


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_crop_is_a_window_of_the_padded_image(layout: torch.memory_format) -> None:
    images = pictures(samples=300).contiguous(memory_format=layout)
    augmented, _ = augment(images, torch.zeros(300), AugmentConfig(crop=2), seeded())
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)))
    corners = set()
    for before, after in zip(padded, augmented.numpy(), strict=True):
        fits = [(y, x) for y in range(5) for x in range(5) if np.array_equal(before[:, y : y + 12, x : x + 16], after)]
        assert len(fits) == 1
        corners.add(fits[0])
    assert len(corners) == 25  # every offset occurs


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(crop=3, flip=0.5),
        AugmentConfig(rotation=30, scale=0.2, shear=10),
        AugmentConfig(crop=2, flip=0.5, rotation=20),
    ],
)
def test_masks_do_not_part_from_their_images(config: AugmentConfig) -> None:
    # given images that are smooth pictures of their own masks
    masks = torch.zeros(8, 24, 32, dtype=torch.int64)
    masks[:, 6:18, 4:20] = 1
    images = masks[:, None].float()
    # when both are moved
    augmented, moved = augment(images, masks, config, seeded(3), pixels)
    # then they still agree, but for the blurred edge
    agree = (augmented[:, 0] > 0.5) == (moved == 1)
    assert agree.float().mean() > 0.99
    assert not torch.equal(moved, masks)
    assert moved.dtype == torch.int64
    assert set(moved.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("shape", [(25, 25), (20, 31)])
def test_a_rotation_is_what_scipy_calls_one(shape: tuple[int, int]) -> None:
    height, width = shape
    blurred = ndimage.gaussian_filter(np.random.default_rng(0).random((height, width)), 2.0)
    images = torch.from_numpy(blurred).float()[None, None]
    generator = seeded(5)
    angle = (2 * float(torch.rand(1, generator=seeded(5))) - 1) * 30.0  # the one number the policy draws first
    augmented, _ = augment(images, torch.zeros(1), AugmentConfig(rotation=30), generator)
    radians = math.radians(angle)
    # scipy works in (row, column): output → input
    matrix = np.array([[math.cos(radians), math.sin(radians)], [-math.sin(radians), math.cos(radians)]])
    centre = (np.array([height, width]) - 1) / 2
    expected = ndimage.affine_transform(blurred, matrix, centre - matrix @ centre, order=1, mode="constant")
    inner = (slice(5, -5), slice(5, -5))  # at the border the two interpolate towards 0 differently
    np.testing.assert_allclose(augmented[0, 0].numpy()[inner], expected[inner], atol=2e-4)
    assert abs(angle) > 3


def test_scaling_enlarges_by_the_factor() -> None:
    disc = ((torch.arange(64)[:, None] - 31.5) ** 2 + (torch.arange(64) - 31.5) ** 2 < 15**2).float()
    images = disc.expand(50, 1, 64, 64)
    augmented, _ = augment(images, torch.zeros(50), AugmentConfig(scale=0.4), seeded())
    generator = seeded()
    torch.rand(50, generator=generator)  # the angles
    factor = 1 + 0.4 * (2 * torch.rand(50, generator=generator) - 1)
    torch.testing.assert_close(augmented.sum((1, 2, 3)) / disc.sum(), factor**2, rtol=0.03, atol=0)


def test_colour_leaves_grey_alone_and_brightness_keeps_the_range() -> None:
    grey = pictures(channels=1)
    same, _ = augment(grey, torch.zeros(6), AugmentConfig(colour=0.5), seeded())
    assert torch.equal(same, grey)
    bright, _ = augment(pictures(), torch.zeros(6), AugmentConfig(brightness=0.9, contrast=0.9, colour=0.9), seeded())
    assert bright.min() >= 0
    assert bright.max() <= 1


def test_erasing_covers_the_declared_area_and_spares_masks() -> None:
    images = torch.full((500, 1, 40, 40), 2.0)  # a value that noise cannot have
    masks = torch.ones(500, 40, 40, dtype=torch.int64)
    config = AugmentConfig(erase=0.5, erase_area=(0.1, 0.2))
    augmented, same = augment(images, masks, config, seeded(), pixels)
    covered = (augmented != 2.0)[:, 0]
    share = covered.float().mean((1, 2))
    erased = share > 0
    assert 0.4 < erased.float().mean() < 0.6
    assert share[erased].min() > 0.07  # sides are whole pixels
    assert share[erased].max() < 0.24
    assert torch.equal(same, masks)
    # a rectangle: as many pixels as rows times columns
    assert torch.equal(covered.sum((1, 2)), covered.any(2).sum(1) * covered.any(1).sum(1))


def test_one_seed_gives_one_batch_and_another_seed_another() -> None:
    images, targets = pictures(), torch.arange(6)
    first, _ = augment(images, targets, EVERYTHING, seeded(1))
    again, _ = augment(images, targets, EVERYTHING, seeded(1))
    other, _ = augment(images, targets, EVERYTHING, seeded(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == images.shape
    assert not torch.equal(images, first)


def test_the_preview_shows_a_row_a_sample_with_masks_over_it() -> None:
    images, masks = pictures(samples=3), torch.ones(3, 12, 16, dtype=torch.int64)
    sheet = preview(images, masks, EVERYTHING, seed=0, variants=4, move=pixels, mark=partial(TARGET.marked, about={}))
    assert isinstance(sheet, Figure)
    assert len(sheet.axes) == 3 * 5
    (original,) = sheet.axes[0].get_images()
    expected = TARGET.marked(_eight_bits(images[0]), masks[0].numpy(), {})
    np.testing.assert_array_equal(original.get_array(), np.asarray(expected))
    assert not np.array_equal(np.asarray(expected), np.asarray(_eight_bits(images[0])))


def _eight_bits(image: Tensor) -> Image.Image:
    return Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(crop=3),
        AugmentConfig(flip=1.0),
        AugmentConfig(rotation=30, scale=0.2, shear=10),
        AugmentConfig(crop=2, flip=0.5, rotation=20, scale=0.1),
    ],
)
def test_points_go_where_their_places_go(config: AugmentConfig, device: str) -> None:
    # given a spot in each picture, off its centre
    rows, columns = torch.arange(48)[:, None] + 0.5, torch.arange(64) + 0.5
    places = torch.tensor([[40.5, 14.5], [22.5, 30.5]]).repeat(20, 1)
    spots = torch.exp(-((columns - places[:, 0, None, None]) ** 2 + (rows - places[:, 1, None, None]) ** 2) / 8.0)
    # when pictures and points are moved
    moved, points = augment(
        spots[:, None].to(device), places[:, None].to(device), config, seeded(4), lambda each, by: by.points(each)
    )
    # then the spots' centres of mass are the points
    moved, points = moved[:, 0].cpu(), points[:, 0].cpu()
    mass = moved.sum((1, 2))
    centres = torch.stack(((moved * columns).sum((1, 2)) / mass, (moved * rows).sum((1, 2)) / mass), dim=1)
    torch.testing.assert_close(points, centres, atol=0.05, rtol=0)
    assert (points - places).abs().amax(1).gt(0.5).float().mean() > 0.5


@pytest.mark.parametrize("config", [AugmentConfig(crop=3, flip=0.5), AugmentConfig(rotation=40, scale=0.4, shear=20)])
def test_beyond_a_picture_is_what_is_ignored_and_the_rest_as_it_was(config: AugmentConfig) -> None:
    # given pictures that are white throughout, and masks of classes from 1 to 20, and of what is ignored
    images = torch.ones(6, 1, 12, 16)
    masks = torch.randint(1, 21, (6, 12, 16), generator=seeded(3))
    masks[:, :4] = 255
    # when they are moved alike, the outside being class 0 or ignored
    moved, plain = augment(images, masks, config, seeded(), pixels)
    again, ignoring = augment(images, masks, config, seeded(), lambda each, by: by.pixels(each, 255))
    # then only that differs, and black is there and nowhere else where nothing is mixed
    assert torch.equal(moved, again)
    assert torch.equal(ignoring, plain.where(plain != 0, 255))
    assert (plain == 0).any() and set(ignoring.unique().tolist()) <= {*range(1, 21), 255}
    if not config.rotation:
        assert torch.equal(plain == 0, moved[:, 0] == 0)


def test_the_sheet_marks_what_is_ignored_and_names_the_colours() -> None:
    images, masks = pictures(samples=2), torch.zeros(2, 12, 16, dtype=torch.int64)
    masks[:, 6:] = 255
    about = {"kind": "mask", "ignore": 255}
    mark = partial(TARGET.marked, about=about)
    sheet = preview(images, masks, EVERYTHING, 0, 2, move=pixels, mark=mark, colours=TARGET.colours(("a", "b"), about))
    (legend,) = sheet.legends
    assert [text.get_text() for text in legend.get_texts()] == ["b", "(ignored)"]
    shown, plain = np.asarray(sheet.axes[0].images[0].get_array())[..., :3], np.asarray(_eight_bits(images[0]))
    assert (shown[:6] == plain[:6]).all() and (shown[6:] != plain[6:]).any(axis=2).all()
    assert not preview(images, masks % 255, EVERYTHING, 0, 2, move=pixels, mark=mark).legends
