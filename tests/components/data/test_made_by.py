"""Which stages of data a change of code makes again: those whose bytes it decides, and no others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components import members, provenance
from components.config import DatasetConfig
from components.data import places
from components.data.stages import made_by
from components.data.stages.watch import changes, watch
from tests.components.data.data_builders import DIGITS, SCENES
from tests.remembered import forget_code

ROOT = Path(__file__).parents[3]
CONFIGS = [DatasetConfig.model_validate(entry) for entry in (DIGITS, SCENES)]
ALL = set(made_by.STAGES)

Touched = Callable[[str, str], list[set[str]]]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the code, which digests are made of instead."""
    root = tmp_path_factory.mktemp("code")
    shutil.copytree(ROOT / "components", root / "components", ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "CODE", root)
        patch.setattr(members, "ROOT", root / "components")
        yield root / "components"
    forget_code()


def _codes() -> list[dict[str, dict[str, str]]]:
    """Of each of `CONFIGS`."""
    forget_code()
    return [{stage: made_by.code(stage, config) for stage in made_by.STAGES} for config in CONFIGS]


@pytest.fixture(scope="module")
def touched(code: Path) -> Touched:
    """The stages that each of `CONFIGS` makes again when `more` ends a module, which may be new."""
    before = _codes()

    def by(module: str, more: str) -> list[set[str]]:
        path = code / module
        content = path.read_text(encoding="utf-8") if path.exists() else None
        path.write_text((content or '"""New."""\n') + more, encoding="utf-8")
        try:
            after = _codes()
        finally:
            path.unlink() if content is None else path.write_text(content, encoding="utf-8")
        return [{stage for stage in was if was[stage] != now[stage]} for was, now in zip(before, after, strict=True)]

    return by


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("data/preparing/prepare.py", {"prepare"}),
        ("data/preparing/ingest.py", {"ingest"}),
        ("data/inspection/base/twins.py", {"inspect"}),
        ("data/validation/suite.py", {"validate"}),
        ("data/sources/base/boundary.py", {"ingest"}),
        ("data/sources/coco.py", set()),
        ("decoding/reading.py", ALL),
        ("inputs/protocol.py", {"prepare", "validate"}),
        ("inputs/corruptions.py", set()),  # they are put to networks
        ("targets/protocol.py", ALL - {"ingest"}),
        ("data/card/page.py", set()),
        ("training/loop/loop.py", set()),
        ("config/gates.py", set()),
    ],
)
def test_a_change_makes_those_stages_again_whose_bytes_it_decides(
    touched: Touched, module: str, stages: set[str]
) -> None:
    assert touched(module, "\nCHANGED = 1\n") == [stages, stages]


def test_a_remark_makes_nothing_again(touched: Touched) -> None:
    assert touched("decoding/reading.py", "\n# a remark\n") == [set(), set()]


@pytest.mark.parametrize(
    ("module", "mark"),
    [
        ("tasks/depth.py", "TASK = 1"),
        ("targets/depths.py", "TARGET = 1"),
        ("inputs/sound.py", "INPUT = 1"),
        ("data/inspection/eyes/sound.py", "EYE = 1"),
        ("models/families/wide.py", "from components.models.registry import register\n\n@register('wide')"),
        ("data/sources/camera.py", "def read(source: CameraSource,"),
    ],
)
def test_a_new_member_makes_no_data_again(touched: Touched, module: str, mark: str) -> None:
    assert touched(module, f"\n{mark}\n") == [set(), set()]


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("data/sources/digits.py", [{"ingest"}, {"ingest"}]),  # the scenes are composed of them
        ("data/sources/digit_scenes.py", [set(), {"ingest"}]),
        ("inputs/image.py", [{"prepare", "validate"}] * 2),
        ("inputs/text.py", [set(), set()]),
        ("data/inspection/eyes/image.py", [{"inspect"}] * 2),
        ("data/inspection/eyes/hashing.py", [{"inspect"}] * 2),
        ("targets/class_.py", [ALL - {"ingest"}, set()]),
        ("targets/mask.py", [set(), ALL - {"ingest"}]),
    ],
)
def test_of_sources_inputs_and_kinds_of_targets_those_count_that_the_entry_uses(
    touched: Touched, module: str, stages: list[set[str]]
) -> None:
    assert touched(module, "\nCHANGED = 1\n") == stages


def test_texts_are_made_by_what_reads_texts_alone() -> None:
    """As an entry would be that some source of texts is named in."""
    config = DatasetConfig.model_validate({**{key: DIGITS[key] for key in ("task", "source")}, "text": {}})
    forget_code()
    parts = {stage: set(made_by.code(stage, config)) for stage in made_by.STAGES}
    assert {"components.inputs.text", "components.tokenizing"} <= parts["prepare"] & parts["validate"]
    assert "components.data.inspection.eyes.text" in parts["inspect"]
    pictures = {"components.inputs.image", "components.inputs.describing", "components.data.inspection.eyes.image"}
    assert not pictures & set().union(*parts.values())


def test_what_has_changed_is_named_before_anything_is_made(tmp_path: Path, code: Path) -> None:
    config = CONFIGS[0]
    forget_code()
    watch("mine", config, tmp_path)
    assert changes("mine", config, tmp_path) == []
    path = code / "data" / "preparing" / "prepare.py"
    content = path.read_text(encoding="utf-8")
    path.write_text(f"{content}\nCHANGED = 1\n", encoding="utf-8")
    try:
        forget_code()
        assert changes("mine", config, tmp_path) == ["prepare: code: components.data.preparing.prepare changed"]
    finally:
        path.write_text(content, encoding="utf-8")
        forget_code()
    (places.watched(tmp_path, "mine") / "inspect.json").unlink()
    assert changes("mine", config, tmp_path) == ["inspect: its code was not looked at yet"]
