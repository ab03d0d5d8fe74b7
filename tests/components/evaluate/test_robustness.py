from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from components.artifacts import DatasetCard, ImageSpec
from components.config import CorruptionsConfig, EvaluateConfig
from components.data.reading.loading import Arrays
from components.evaluate.robustness import conditions, problems, robustness
from components.inputs.corruptions import CORRUPTIONS
from components.tasks import registry as tasks

SPEC = ImageSpec(height=16, width=16, channels=1, mean=(0.5,), std=(0.2,))
CLASSES = ("dark", "bright")
CARD = DatasetCard(
    name="levels", task="classification", classes=CLASSES, groups=(), input=SPEC, splits={}, fingerprint="0" * 64
)


def pictures(count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(60, 190, (count, 16, 16, 1), dtype=np.uint8)


def corrupted(images: np.ndarray, kind: str, severity: int, seed: int = 0) -> np.ndarray:
    return CORRUPTIONS[kind](images, severity, np.random.default_rng([seed, severity]))


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_more_severe_is_further_from_the_picture(kind: str) -> None:
    images = pictures().astype(np.float64)
    distances = [np.abs(corrupted(pictures(), kind, severity) - images).mean() for severity in range(1, 6)]
    assert distances == sorted(distances) and distances[0] > 0
    np.testing.assert_array_equal(corrupted(pictures(), kind, 3, seed=5), corrupted(pictures(), kind, 3, seed=5))


def test_blur_is_that_of_pillow_and_noise_has_the_papers_deviation() -> None:
    # a smooth picture, on which Pillow's boxes are a Gaussian
    rows, columns = np.mgrid[0:32, 0:32]
    smooth = (128 + 60 * np.sin(rows / 3) * np.cos(columns / 4)).astype(np.uint8)
    ours = corrupted(smooth[None, :, :, None], "blur", 5)[0, :, :, 0].astype(int)
    theirs = np.asarray(Image.fromarray(smooth).filter(ImageFilter.GaussianBlur(1.0))).astype(int)
    assert np.abs(ours - theirs)[4:-4, 4:-4].max() <= 2
    flat = np.full((20, 32, 32, 1), 128, dtype=np.uint8)
    assert corrupted(flat, "gaussian_noise", 5).std() / 255 == pytest.approx(0.10, rel=0.02)
    assert corrupted(flat, "brightness", 2).mean() / 255 == pytest.approx(128 / 255 + 0.10, abs=0.003)


def test_contrast_keeps_each_images_mean() -> None:
    images = pictures()
    drawn = corrupted(images, "contrast", 5)
    np.testing.assert_allclose(drawn.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=0.6)
    np.testing.assert_allclose(drawn.std(axis=(1, 2, 3)), 0.15 * images.std(axis=(1, 2, 3)), rtol=0.1)


def by_brightness(images: np.ndarray) -> dict[str, np.ndarray]:
    """A classifier that is right about clean pictures and is misled by light alone."""
    bright = (images.mean(axis=(1, 2, 3)) > 127.5).astype(np.int64)
    probabilities = np.eye(2, dtype=np.float32)[bright]
    return {"probabilities": probabilities, "prediction": bright}


def samples() -> Arrays:
    """100 dark pictures, just below the limit, and 100 bright ones."""
    levels = np.repeat([115, 140], 100)
    images = np.broadcast_to(levels[:, None, None, None], (200, 16, 16, 1)).astype(np.uint8)
    return Arrays(np.array([str(number) for number in range(200)]), images, np.repeat([0, 1], 100), {})


def test_the_figure_is_the_mean_over_conditions_and_names_the_weakness() -> None:
    config = EvaluateConfig(bootstrap=200, corruptions=CorruptionsConfig(severities=(1, 5)))
    found = robustness(by_brightness, tasks.get("classification"), samples(), CARD, config)
    # light of 0.05 takes the dark pictures to 128, and of 0.30 beyond: all are called bright, half of them rightly
    assert found["corrupted_brightness_accuracy"].value == 0.5
    assert found["corrupted_blur_accuracy"].value == found["corrupted_contrast_accuracy"].value == 1.0
    by_hand = [found[f"corrupted_{kind}_accuracy"].value for kind in CORRUPTIONS]
    figure = found["robustness_accuracy"]
    assert figure.value == pytest.approx(np.mean(by_hand))
    assert figure.low is not None and figure.high is not None
    # one resampling for all conditions: brightness alone moves, by a binomial of 200 at a quarter of the weight
    half_width = 1.96 * np.sqrt(0.25 / 200) / 4
    assert figure.high - figure.low == pytest.approx(2 * half_width, rel=0.35)


def test_without_corruptions_there_is_no_figure() -> None:
    task = tasks.get("classification")
    assert robustness(by_brightness, task, samples(), CARD, EvaluateConfig(corruptions=None)) == {}
    assert conditions(CorruptionsConfig(kinds=("blur",), severities=(2, 4))) == "blur at severity 2 and 4 of 5"


def test_each_kind_of_input_has_corruptions_of_its_own() -> None:
    of_texts = EvaluateConfig(corruptions=CorruptionsConfig(kinds=("swapped", "unknown")))
    assert problems(EvaluateConfig(), "image") == problems(of_texts, "text") == []
    assert problems(EvaluateConfig(corruptions=None), "text") == []
    (said,) = problems(EvaluateConfig(), "text", "line.evaluate")
    assert said.startswith("line.evaluate.corruptions.kinds: expected some of dropped, swapped, unknown, repeated,")
    assert "received gaussian_noise, blur, brightness, contrast; name those" in said
    (said,) = problems(EvaluateConfig(corruptions=CorruptionsConfig(kinds=("blur", "swapped"))), "image")
    assert said.endswith("done to images, received swapped; name those that are meant, or set `corruptions: null`")


def test_the_corruptions_of_old_recipes_are_known_by_what_they_were() -> None:
    assert EvaluateConfig().model_dump(mode="json")["corruptions"] == {
        "kinds": ["gaussian_noise", "blur", "brightness", "contrast"],
        "severities": [2, 4],
        "samples": 500,
    }
