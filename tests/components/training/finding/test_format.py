"""The format finder: real steps in every format, and a suggestion only where it pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from components.artifacts import Dataset, TextSpec
from components.config import ConfigurationError
from components.training.finding import format as formats
from components.training.finding.format import Format, Way, find_format
from components.training.jobs.job import Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data

Jobs = Callable[..., Job]
FLOAT = {"precision": "float32", "batch_size": 32}


def paced(rates: dict[Way, list[float]]) -> Callable[..., Format]:
    """Measurements as foretold, one list entry per round."""
    left = {way: list(each) for way, each in rates.items()}
    return lambda job, way, *_: Format(*way, left[way].pop(0), 1)


@pytest.mark.parametrize(
    ("fastest", "expected"),
    [(104.0, ("float32", "channels_last")), (106.0, ("bfloat16", "contiguous"))],
)
def test_another_format_is_suggested_where_it_is_more_than_five_percent_faster(
    dataset: Dataset, job: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fastest: float, expected: Way
) -> None:
    rates: dict[Way, list[float]] = {
        ("float32", "channels_last"): [20.0, 100.0],  # something else ran beside the first
        ("float32", "contiguous"): [50.0, 50.0],
        ("bfloat16", "channels_last"): [90.0, 60.0],
        ("bfloat16", "contiguous"): [fastest, 30.0],
    }
    monkeypatch.setattr(formats, "_measured", paced(rates))
    heard: list[tuple[int, int]] = []
    found = find_format(job(training=FLOAT), dataset, decoded=tmp_path, on_measured=lambda *each: heard.append(each))
    assert (found.suggested.precision, found.suggested.memory_format) == expected
    assert found.used == Format("float32", "channels_last", 100.0, 1)
    assert [each.images_per_second for each in found.table] == [fastest, 100.0, 90.0, 50.0]
    assert heard == [(done, 8) for done in range(1, 9)]


def test_steps_are_real_ones(dataset: Dataset, job: Jobs, tmp_path: Path) -> None:
    found = formats._measured(job(training=FLOAT), ("float32", "contiguous"), dataset, tmp_path, "cpu")
    assert 1 < found.images_per_second < 1e6


def test_what_has_one_layout_only_or_is_cut_up_is_refused(dataset: Dataset, job: Jobs, tmp_path: Path) -> None:
    words = TextSpec(kind="text", unit="word", lower=True, length=8, vocabulary=("a",))
    texts = replace(dataset, card=dataset.card.model_copy(update={"input": words}))
    with pytest.raises(ConfigurationError, match="dataset: expected pictures, received inputs of the kind text"):
        find_format(job(), texts, decoded=tmp_path)
    with pytest.raises(ConfigurationError, match=r"training\.strategy: expected data"):
        find_format(job(training={"strategy": "pipeline", "workers": 2}), dataset, decoded=tmp_path)


def test_a_network_learns_the_same_in_both_layouts_but_for_rounding(data: Data, job: Jobs, tmp_path: Path) -> None:
    def weights(memory_format: str, folder: str) -> dict[str, torch.Tensor]:
        settings: dict[str, Any] = {**FLOAT, "memory_format": memory_format}
        return train(job(epochs=1, training=settings), data, tmp_path / folder).state_dict()

    last, plain = weights("channels_last", "a"), weights("contiguous", "b")
    for name, value in last.items():
        torch.testing.assert_close(plain[name], value, rtol=1e-3, atol=1e-3)
    kernels = [value for value in plain.values() if value.ndim == 4]
    assert kernels and all(each.is_contiguous() for each in kernels)
