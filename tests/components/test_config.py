from __future__ import annotations

import copy
import re
import shutil
import sys
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from components import config, members
from components.config import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def changed(**values: Any) -> dict[str, Any]:
    """`params.yaml` with other values; a key's dots are written as double underscores."""
    params = copy.deepcopy(PARAMS)
    for key, value in values.items():
        *path, last = key.split("__")
        section = params
        for part in path:
            section = section[int(part) if isinstance(section, list) else part]
        section[last] = value
    return params


def mistakes(params: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        config.check(params)
    return str(error.value).split("\n")


# -- what is wrong ---------------------------------------------------------------------------------------------------

WRONG = [
    ({"line__training__batch_size": 0}, "line.training.batch_size: expected greater than or equal to 1, received 0"),
    (
        {"line__training__optimizer": "adam"},
        "line.training.optimizer: expected 'adamw', 'sgd' or 'muon', received 'adam'",
    ),
    ({"line__training__lr": 0.1}, "line.training.lr: expected no such key, received 0.1"),
    ({"line__training": None}, "line.training: expected a mapping, received None"),
    ({"line__training__warmup": 1.0}, "line.training.warmup: expected less than 1, received 1.0"),
    (
        {"line__prune": {"kind": "all", "epochs": 1}},
        "line.prune.kind: expected one of 'structured', 'unstructured', '2:4', received 'all'",
    ),
    (
        {"line__prune": {"kind": "structured", "epochs": 1, "keep": 1.0}},
        "line.prune.keep: expected less than 1, received 1.0",
    ),
    ({"line__prune": {"kind": "2:4", "epochs": 1, "rounds": 2}}, "line.prune.rounds: expected 1, received 2"),
    (
        {"line__student__unlabelled": "fashion-mnist"},
        "line.student.unlabelled: expected one of digit-sheets, digits, digits-measure, digits-segment, grammar, "
        "scenes-detect, topics, since fashion-mnist is learnt from anyway, received 'fashion-mnist'",
    ),
    (
        {"line__student__unlabelled": "digits"},
        "line.student.unlabelled: expected images of 28×28 in 1 channels, as in fashion-mnist, received digits, of 8×8 "
        "in 1 channels",
    ),
    ({"line__members__count": 0}, "line.members.count: expected greater than or equal to 1, received 0"),
    (
        {"line__members__networks": []},
        "line.members.networks: expected to have at least 1 item after validation, not 0, received []",
    ),
    (
        {"line__members__networks": [{"name": "residual", "arguments": {"width": [1]}}]},
        "line.members.networks.0.arguments.width: expected a valid integer or a valid number or a valid boolean "
        "or a valid string, received [1]",
    ),
    (
        {"line__model": "a b"},
        "line.model: expected to match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$', received 'a b'",
    ),
    # NaN is on neither side of a limit, so a gate that has one would let everything through or nothing.
    ({"line__gates__0__limit": float("nan")}, "line.gates.0.limit: expected a finite number, received nan"),
    ({"line__gates__0__gate": "flor"}, "line.gates.0.gate: expected one of 'floor', 'ceiling', "),
    ({"line__gates__1__gate": "floor"}, "line.gates: expected each gate once, received "),
    ({"line__gates": []}, "line.gates: expected to have at least 1 item"),
    (
        {"line__training__learning_rate": float("inf")},
        "line.training.learning_rate: expected a finite number, received inf",
    ),
    ({"line__augment__erase_area": [0.5, 0.1]}, "line.augment.erase_area: expected the lesser of two limits first"),
    ({"line__augment__erase_area": [0.5]}, "line.augment.erase_area.1: expected a value, received nothing"),
    (
        {"line__dataset": "imagenet"},
        "line.dataset: expected one of digit-sheets, digits, digits-measure, digits-segment, fashion-mnist, grammar, "
        "scenes-detect, topics, received 'imagenet'",
    ),
    ({"datasets__digits__image__channels": 2}, "datasets.digits.image.channels: expected 1 or 3, received 2"),
    (
        {"datasets__digits__source": {"kind": "ftp"}},
        "datasets.digits.source.kind: expected one of 'fashion-mnist', 'digits', 'digit-scenes', 'scenes', 'folder', "
        "'cut-outs', 'manifest', 'masks', 'coco', 'voc', 'yolo', 'idx', 'arrays', 'huggingface', 'digit-sheets', "
        "'grammar', 'texts', 'topics', received 'ftp'",
    ),
    ({"datasets__digits__source": {}}, "datasets.digits.source.kind: expected a value, received nothing"),
    (
        {"datasets__digits__source": {"kind": "folder", "path": "x", "glob": "*"}},
        "datasets.digits.source.glob: expected no such key, received '*'",
    ),
    (
        {"datasets__digits-segment__source__digits": [4, 2]},
        "datasets.digits-segment.source.digits: expected the lesser of two limits first, received [4, 2]",
    ),
    (
        {"datasets__digits__classes": ["cat", "cat"]},
        "datasets.digits.classes: expected names that differ from each other, received ['cat', 'cat']",
    ),
]


@pytest.mark.parametrize(("values", "says"), WRONG, ids=[next(iter(values)) for values, _ in WRONG])
def test_a_mistake_is_one_line_with_its_key_what_was_expected_and_what_was_received(
    values: dict[str, Any], says: str
) -> None:
    lines = mistakes(changed(**values))
    assert len(lines) == 1
    assert lines[0].startswith(says)


def test_all_mistakes_are_told_at_once() -> None:
    params = changed(line__seed="x", line__gates__0__limit="high", line__drift__rows=3, datasets__digits__task=None)
    del params["line"]["student"]["epochs"]
    params["line"]["dataset"] = "imagenet"
    params["colour"] = "blue"
    found = {line.split(":")[0]: line for line in mistakes(params)}
    assert set(found) == {
        "line.seed",
        "line.gates.0.limit",
        "line.drift.rows",
        "datasets.digits.task",
        "line.student.epochs",
        "line.dataset",
        "colour",
    }
    assert found["line.student.epochs"].endswith("expected a value, received nothing")
    assert all("expected" in line and "received" in line for line in found.values())


def sections(model: type[config.Section] = config.Params) -> list[tuple[str, ...]]:
    """The keys of every mapping in `params.yaml` that is a section of the configuration."""
    found: list[tuple[str, ...]] = []

    def visit(value: Any, section: Any, path: tuple[str, ...]) -> None:
        if isinstance(section, config.Section):
            found.append(path)
            for key, below in value.items():
                visit(below, getattr(section, key), (*path, key))
        elif isinstance(section, dict) and path[-1] != "arguments":
            for key, below in value.items():
                visit(below, section[key], (*path, key))

    visit(PARAMS, config.check(PARAMS), ())
    return found


@pytest.mark.parametrize("path", sections(), ids=lambda path: ".".join(path) or "whole")
def test_no_section_takes_a_key_it_does_not_know(path: tuple[str, ...]) -> None:
    params = copy.deepcopy(PARAMS)
    section = params
    for part in path:
        section = section[part]
    section["surprise"] = 1
    assert mistakes(params) == [f"{'.'.join((*path, 'surprise'))}: expected no such key, received 1"]


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS), encoding="utf-8")
    (tmp_path / "recipes").mkdir()
    return tmp_path


def test_a_recipe_lies_over_the_line_and_an_override_over_both(project: Path) -> None:
    (project / "recipes" / "small.yaml").write_text(
        "line: {dataset: digits, training: {batch_size: 32, warmup: 0.5}, members: {networks: [{name: unet}]}}",
        encoding="utf-8",
    )
    recipe = config.load(project, "small", ["training.warmup=0.1", "line.seed=5", "student.network.arguments.width=8"])
    line = recipe.line
    assert (line.training.batch_size, line.training.warmup, line.seed) == (32, 0.1, 5)
    assert line.training.optimizer == PARAMS["line"]["training"]["optimizer"]  # untouched beside what is overridden
    assert line.members.networks == (config.NetworkConfig(name="unet"),)  # a list is replaced, not merged
    assert line.members.epochs == PARAMS["line"]["members"]["epochs"]
    assert line.student.network.arguments == {**PARAMS["line"]["student"]["network"]["arguments"], "width": 8}
    assert recipe.dataset == config.dataset_entry(project, "digits")


def test_another_choice_does_not_inherit_the_arguments_of_the_one_it_replaces() -> None:
    base = {"network": {"name": "residual", "arguments": {"width": 32, "stride": 2}}, "epochs": 2}
    assert config.merge(base, {"network": {"name": "unet"}}) == {"network": {"name": "unet"}, "epochs": 2}
    narrower = config.merge(base, {"network": {"arguments": {"width": 8}}})
    assert narrower["network"] == {"name": "residual", "arguments": {"width": 8, "stride": 2}}


def test_an_entry_of_a_list_is_addressed_by_the_name_it_bears() -> None:
    base = {"gates": [{"gate": "floor", "limit": 0.8}, {"gate": "latency", "limit": 5.0}]}
    over = {"gates": {"floor": {"limit": 0.9}, "latency": None, "size": {"limit": 1.0}}}
    assert config.merge(base, over) == {"gates": [{"gate": "floor", "limit": 0.9}, {"gate": "size", "limit": 1.0}]}
    whole = {"gates": [{"gate": "size", "limit": 2.0}]}
    assert config.merge(base, whole) == whole
    twice = {"gates": [{"gate": "floor", "limit": 0.8}, {"gate": "floor", "limit": 0.7, "metric": "macro_f1"}]}
    with pytest.raises(ConfigurationError, match=r"gates\.floor: expected one entry of that name, received 2"):
        config.merge(twice, over)


def test_a_gate_is_overridden_by_its_name_and_a_wrong_one_is_told() -> None:
    line = config.load(ROOT, "digits", ["gates.floor.limit=0.5", "gates.freshness.days=30"]).line
    said = {gate.gate: gate for gate in line.gates}
    assert said["floor"].model_dump() == {"gate": "floor", "limit": 0.5, "metric": None}
    assert said["freshness"].model_dump() == {"gate": "freshness", "days": 30.0}
    for wrong, says in (("gates.flor.limit=0.5", "received 'flor'"), ("gates.floor=0.5", "line.gates.0: expected")):
        with pytest.raises(ConfigurationError, match=re.escape(says)):
            config.load(ROOT, "digits", [wrong])


def test_of_two_overrides_of_one_key_the_last_counts(project: Path) -> None:
    assert config.load(project, overrides=["seed=1", "seed=2"]).line.seed == 2


def test_a_recipe_may_be_a_file_of_any_name(project: Path) -> None:
    own = project / "mine.yml"
    own.write_text("line: {seed: 9}", encoding="utf-8")
    assert config.load(project, str(own)).line.seed == 9


def test_an_unknown_recipe_is_answered_with_those_there_are(project: Path) -> None:
    (project / "recipes" / "small.yaml").write_text("line: {}", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="recipe: expected one of small or a file, received 'smal'"):
        config.load(project, "smal")


@pytest.mark.parametrize("content", ["seed: 1", "{line: {seed: 1}, 3: x}", "line: [1]", "{line: {}, datasets: {}}"])
def test_a_recipe_that_speaks_of_more_than_the_line_is_refused(project: Path, content: str) -> None:
    (project / "recipes" / "odd.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"odd\.yaml: expected one key, `line:`"):
        config.load(project, "odd")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"line: [", "not readable as YAML"),
        (b"\xff\xfe\x00", "not readable as YAML"),
        (b"- 1", "expected a mapping, received list"),
        (b"", "expected a mapping, received NoneType"),
        (None, "expected a file, received nothing"),
    ],
)
def test_an_unreadable_file_is_named(project: Path, content: bytes | None, says: str) -> None:
    path = project / "params.yaml"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"params\.yaml: {says}"):
        config.load(project)


@pytest.mark.parametrize("text", ["seed", "=1", "a..b=1", "line.=1", ".seed=1", "seed=[1", ""])
def test_an_override_that_is_none_is_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        config.parse_override(text)
    assert str(error.value).startswith(f"-S {text}: ")


def test_a_catalogue_entry_is_checked_alone_and_under_its_key(project: Path) -> None:
    params = changed(line=None, datasets__digits__image={"height": 8, "width": -1, "channels": 1})
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    assert config.dataset_entry(project, "fashion-mnist").image.height == 28
    with pytest.raises(ConfigurationError, match=r"^datasets\.digits\.image\.width: expected greater than or"):
        config.dataset_entry(project, "digits")
    with pytest.raises(ConfigurationError, match=r"datasets\.faces: expected an entry in params\.yaml"):
        config.dataset_entry(project, "faces")


@pytest.mark.parametrize("recipe", [None, *config.recipes(ROOT)])
def test_what_is_shipped_is_right(recipe: str | None) -> None:
    loaded = config.load(ROOT, recipe)
    assert loaded.dataset == config.dataset_entry(ROOT, loaded.line.dataset)
    if recipe is not None:
        said = yaml.safe_load((ROOT / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8"))["line"]
        again = config.LineConfig.model_validate(config.merge(loaded.line.model_dump(mode="json"), said))
        assert again == loaded.line


def test_there_are_recipes_to_check() -> None:
    assert {"digits", "digits-segment"} <= set(config.recipes(ROOT))


# -- values ----------------------------------------------------------------------------------------------------------


def test_the_configuration_cannot_be_changed_after_it_was_checked() -> None:
    line = config.load(ROOT).line
    with pytest.raises(ValidationError, match="frozen"):
        line.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        line.training.batch_size = 1  # type: ignore[misc]


def test_equal_sections_have_equal_digests_and_others_others() -> None:
    first, again = config.load(ROOT).line, config.load(ROOT).line
    assert first is not again
    assert first.digest() == again.digest()
    assert first.digest() != config.load(ROOT, overrides=["seed=1"]).line.digest()
    written_out = config.load(ROOT, overrides=["training.max_failures=2"]).line  # the default, said aloud
    assert written_out.digest() == first.digest()


keys = st.text("abcdefghij_-0123456789", min_size=1, max_size=5).filter(lambda key: key != "line")
values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text("abc é'\": #{}[],=.0", max_size=8)
)
values = st.one_of(values, st.lists(values, max_size=3))
trees = st.recursive(values, lambda below: st.dictionaries(keys, below, max_size=4), max_leaves=12)
mappings = st.dictionaries(keys, trees, max_size=4)


@given(st.lists(keys, min_size=1, max_size=4), values)
def test_an_override_says_what_was_written(path: list[str], value: Any) -> None:
    text = (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).removesuffix("...\n").strip()
    )
    for prefix in ("", "line."):
        nested = config.parse_override(f"{prefix}{'.'.join(path)}={text}")
        for part in path:
            assert list(nested) == [part]
            nested = nested[part]
        assert nested == value
        assert type(nested) is type(value)


@given(mappings, mappings)
def test_what_lies_on_top_wins_and_what_it_does_not_speak_of_stays(base: dict[str, Any], over: dict[str, Any]) -> None:
    before = copy.deepcopy((base, over))
    merged = config.merge(base, over)
    assert (base, over) == before  # neither is changed
    assert config.merge(merged, over) == merged
    assert config.merge(base, {}) == base
    assert config.merge({}, over) == over

    def holds(below: dict[str, Any], top: dict[str, Any], result: dict[str, Any]) -> None:
        assert set(result) == set(below) | set(top)
        for key, value in result.items():
            if key not in top:
                assert value == below[key]
            elif isinstance(top[key], dict) and isinstance(below.get(key), dict):
                holds(below[key], top[key], value)
            else:
                assert value == top[key]

    holds(base, over, merged)


@given(mappings, st.lists(keys, min_size=1, max_size=3), values)
def test_an_override_changes_one_key_and_no_other(base: dict[str, Any], path: list[str], value: Any) -> None:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
    *sections_above, last = path
    expected = copy.deepcopy(base)
    section = expected
    for part in sections_above:
        assume(isinstance(section.get(part, {}), dict))
        section = section.setdefault(part, {})
    section[last] = value
    assert config.merge(base, config.parse_override(f"{'.'.join(path)}={text}")) == expected


# -- a source of one's own -------------------------------------------------------------------------------------------

CAMERA = """
from __future__ import annotations
from pathlib import Path
from typing import Literal
from components.config import Section

class CameraSource(Section):
    kind: Literal["street-camera"]
    lens: int = 1

def read(source: CameraSource, project: Path) -> None: ...
"""


def test_a_source_that_is_declared_beside_its_reader_is_held_to_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "sources"
    folder.mkdir(parents=True)
    file = folder / "street_camera.py"
    file.write_text(CAMERA, encoding="utf-8")
    for ours in ("digit_sheets", "grammar", "topics"):  # which the catalogue has entries of
        shutil.copy(members.ROOT / "data" / "sources" / f"{ours}.py", folder)
    name = "components.data.sources.street_camera"
    spec = spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(members, "ROOT", tmp_path)

    def entry(**source: Any) -> dict[str, Any]:
        return changed(datasets__digits__source={"kind": "street-camera", **source})

    one, other = (config.check(entry(**source)).datasets["digits"] for source in ({}, {"lens": 2}))
    assert (one.source.lens, other.source.lens) == (1, 2)  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert one.model_dump(mode="json")["source"] == {"kind": "street-camera", "lens": 1}
        assert one.digest() != other.digest()
    assert config.parse_entry("digits", one.model_dump()) == one
    (wrong,) = mistakes(entry(lens="wide"))
    assert wrong.startswith("datasets.digits.source.lens: expected a valid integer")
    assert mistakes(entry(glass=1)) == ["datasets.digits.source.glass: expected no such key, received 1"]
    (unknown,) = mistakes(changed(datasets__digits__source={"kind": "camera"}))
    assert unknown.endswith("'huggingface', 'digit-sheets', 'grammar', 'street-camera', 'topics', received 'camera'")
