"""Evidently on real images: what is found, what is not, and what is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import binom, ks_2samp

from components.artifacts import ArtifactError, Dataset
from components.config import DatasetConfig, DriftConfig
from components.data.drift.comparison import History, compare, judge
from components.data.drift.profile import describe, profile, seen
from components.data.drift.rule import DriftReport
from components.data.errors import DataError
from components.data.reading.loading import Arrays, load_split
from components.data.sources import digits as digits_source
from tests.components.data.drift.drift_builders import SITES, drawn, embed, pool, table, told
from tests.hostile_texts import WORDS

# -- what is said where there is nothing to compare with ------------------------------------------------------------


def test_the_first_run_says_that_there_is_no_reference(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    history = History(tmp_path / "evidently", "digits", "first", {})
    report = compare(profile(digits[0], sample=50), None, DriftConfig(), tmp_path, history)
    assert (report.reference, report.drifted, report.share) == (False, None, None)
    assert "no reference yet" in report.message
    assert DriftReport.load(tmp_path) == report
    assert not history.workspace.exists()  # a comparison that was not made is not a run


def test_columns_of_one_side_are_said_to_be_left_out(digits: tuple[Dataset, DatasetConfig]) -> None:
    now = profile(digits[0], sample=200)
    report = judge(now.assign(group_site="north"), now, DriftConfig())
    assert report.message.endswith("not compared, since only one side has them: group_site")
    assert "groups" not in report.families


def test_an_embedding_of_training_rows_is_not_compared_with_one_of_others(
    digits: tuple[Dataset, DatasetConfig],
) -> None:
    arrays = load_split(digits[0], "train", limit=200)
    classes = digits[0].card.classes
    before_splits = describe(arrays, told(arrays, classes)).assign(
        **dict.fromkeys(["embedding_00", "embedding_01"], 1.0)
    )
    report = judge(profile(digits[0], sample=200, embed=embed), before_splits.drop(columns="split"), DriftConfig())
    assert set(report.families) == {"pixels", "labels"}
    assert "only one side has them: 16 directions of what the model sees" in report.message


def test_profiles_without_a_common_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns in common"):
        compare(pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]}), DriftConfig(), tmp_path)


def test_a_column_without_values_is_named(digits: tuple[Dataset, DatasetConfig]) -> None:
    now = profile(digits[0], sample=50)
    with pytest.raises(DataError, match=r"without values: \['contrast'\]"):
        judge(now.assign(contrast=np.nan), now, DriftConfig())


# -- changes of a known size ----------------------------------------------------------------------------------------


def shifted(rows: Arrays, by: float) -> Arrays:
    return replace(rows, inputs=np.clip(rows.inputs.astype(np.int16) + int(by), 0, 255).astype(np.uint8))


def noisy(rows: Arrays, deviation: float) -> Arrays:
    noise = np.random.default_rng(9).normal(0, deviation, rows.inputs.shape)
    return replace(rows, inputs=np.clip(np.rint(rows.inputs + noise), 0, 255).astype(np.uint8))


def blurred(rows: Arrays, sigma: float) -> Arrays:
    soft = gaussian_filter(rows.inputs.astype(np.float32), (0, sigma, sigma, 0))
    return replace(rows, inputs=np.rint(soft).astype(np.uint8))


def mirrored(rows: Arrays, share: float) -> Arrays:
    turned = (np.arange(len(rows)) < share * len(rows))[:, None, None, None]
    return replace(rows, inputs=np.where(turned, rows.inputs[:, :, ::-1], rows.inputs))


def relabelled(rows: Arrays, share: float) -> Arrays:
    """The first class's share of the labels; images stay, so that nothing but the labels can tell."""
    others = np.random.default_rng(9).integers(1, 10, len(rows))
    return replace(rows, targets=np.where(np.arange(len(rows)) < share * len(rows), 0, others))


def north(rows: Arrays, share: float) -> Arrays:
    sites = np.where(np.arange(len(rows)) < share * len(rows), *SITES)
    return replace(rows, groups={"group_site": sites})


def siteless(rows: Arrays, share: float) -> Arrays:
    lost = np.arange(len(rows)) < share * len(rows)
    sites = [None if gone else site for gone, site in zip(lost, rows.groups["group_site"], strict=True)]
    return replace(rows, groups={"group_site": np.array(sites, dtype=object)})


@pytest.mark.parametrize(
    ("change", "size", "family", "column", "others"),
    [
        (shifted, 6, "pixels", "darkest", {"labels", "groups"}),
        (noisy, 16, "pixels", "noise", {"labels", "groups"}),
        (blurred, 0.5, "pixels", "sharpness", {"labels", "groups"}),
        (mirrored, 1.0, "embedding", None, {"labels", "groups"}),
        (relabelled, 0.18, "labels", "label", {"pixels", "embedding", "groups"}),
        (north, 0.62, "groups", "group_site", {"pixels", "embedding", "labels"}),
        (siteless, 0.03, "groups", "group_site", {"pixels", "embedding", "labels"}),
    ],
)
def test_a_change_of_a_known_size_is_found_in_its_family(
    change: Callable[[Arrays, float], Arrays], size: float, family: str, column: str | None, others: set[str]
) -> None:
    images, labels, classes, side = pool()
    order = np.random.default_rng(3).permutation(len(labels))
    reference = drawn(images, labels, order[:side], seed=1)
    current = change(drawn(images, labels, order[side : 2 * side], seed=2), size)

    report = judge(table(current, classes), table(reference, classes), DriftConfig())

    assert report.drifted is True
    found = report.families[family]  # type: ignore[index]
    assert found.drifted
    assert column is None or column in found.columns
    assert not [name for name in others if report.families[name].drifted]  # type: ignore[index]
    assert f"drift in {family}" in report.message or f"and {family}" in report.message


def test_another_data_set_is_found_by_pixels_and_embedding() -> None:
    images, labels, classes, side = pool()
    height, width = images.shape[1:3]
    written, truth = digits_source.load()
    strange = np.stack([np.asarray(Image.fromarray(digit).resize((width, height)).rotate(90)) for digit in written])
    reference = drawn(images, labels, np.arange(side))
    current = drawn(strange[..., None], truth, np.arange(len(truth)))

    report = judge(table(current, classes), table(reference, classes), DriftConfig())

    assert {name for name, each in report.families.items() if each.drifted} >= {"embedding"}


@pytest.mark.parametrize("many", [50, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_unchanged_data_drifts_no_more_often_than_it_is_allowed_to(many: int) -> None:
    """Halves that share no row. At 0.2 there are enough alarms to count; the default, 0.01, may have next to none."""
    images, labels, classes, side = pool()
    side = side // 2  # as many false alarms, for half of the seconds
    everything = drawn(images, labels, np.arange(len(labels)))
    statistics, sight = describe(everything, told(everything, classes)), seen(everything, embed)
    alarms = {0.01: 0, 0.2: 0}
    for seed in range(many):
        order = np.random.default_rng([7, seed]).permutation(len(labels))
        halves = [pd.concat([statistics.iloc[order[at : at + side]], sight.iloc[order[at : at + side]]])
                  for at in (0, side)]  # fmt: skip
        for level in alarms:
            alarms[level] += bool(judge(*halves, DriftConfig(false_alarms=level)).drifted)
    for level, count in alarms.items():
        assert count <= binom.ppf(0.999, many, level), f"{count} alarms in {many} resamples at {level}"
    assert alarms[0.2] > 0  # the tests are alive: correlated columns make the levels stricter, not absent


def test_the_scores_are_those_of_scipy(digits: tuple[Dataset, DatasetConfig]) -> None:
    now, before = (profile(digits[0], sample=300, seed=seed) for seed in (0, 1))
    columns = judge(now, before, DriftConfig()).columns
    assert columns["contrast"].score == pytest.approx(ks_2samp(before["contrast"], now["contrast"]).pvalue)
    assert columns["contrast"].threshold == pytest.approx(0.01 / 2 / 9)  # two families, nine statistics


def test_a_report_that_is_damaged_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "drift.json").write_text('{"reference": true}')
    with pytest.raises(ArtifactError, match=r"drift\.json"):
        DriftReport.load(tmp_path)


def test_names_from_the_data_end_no_script_of_the_page(tmp_path: Path) -> None:
    names = [WORDS["tag"], "</script><script>alert(2)</script>", "<!-- <script>", "north"]
    sides = [
        pd.DataFrame(
            {
                "id": [str(row) for row in range(120)],
                "split": "train",
                "label": [names[(row + side) % 4] for row in range(120)],
                f"group_{names[1]}": [names[row % (4 - side)] for row in range(120)],
            }
        )
        for side in (0, 1)
    ]
    compare(*sides, DriftConfig(), tmp_path)

    page = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "</script><script>" not in page
    told = [json.loads(each) for each in re.findall(r"^ {4}var \w+ = ({.*});$", page, re.MULTILINE)]
    assert len(told) == 2 and told[0]["name"] == "Report"
    assert all(name in str(told) for name in names)
