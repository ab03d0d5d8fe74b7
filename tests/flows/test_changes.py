"""Which steps a change starts: every step's key, before and after it, by the line's own code and without training.

What a step hands on is stood for by its key, so a step downstream is touched wherever one above it is. Settings, code,
lock, MLflow and the flow are real.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from components import machine, provenance
from components.artifacts import DatasetCard, ImageSpec, ModelCard
from components.config import NetworkConfig
from components.files import digest_values
from flows import course
from flows import line as flow
from flows.run.known_by import KnownBy
from flows.run.step import Step
from flows.steps import dataset as dataset_steps
from flows.steps import training as training_steps
from flows.steps.exchanged import Exchanged
from tests.flows.conftest import make_project
from tests.remembered import forget_code

STEPS = [
    "data-validation", "drift", "augmentation", "train", "ensemble", "distil", "quantize", "evaluate", "register",
    "promote",
]  # fmt: skip
TRAIN, ENSEMBLE, DISTIL = (set(STEPS[STEPS.index(name) :]) for name in ("train", "ensemble", "distil"))
QUANTIZE, EVALUATE = (set(STEPS[STEPS.index(name) :]) for name in ("quantize", "evaluate"))


@dataclass(frozen=True)
class Noun:
    """What a step hands on, known by its digest."""

    digest: str
    card: Any = None
    parts: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.parts[name]
        except KeyError:
            raise AttributeError(name) from None


def model(name: str, networks: Sequence[NetworkConfig]) -> ModelCard:
    """A card that names the networks: the model's own, and of those that it is made of."""
    spec = ImageSpec(height=8, width=8, channels=1, mean=(0.5,), std=(0.5,))
    own, members = networks[0], tuple(networks)
    return ModelCard(
        name=name, task="classification", network=own, members=members, classes=("a", "b"), input=spec, data=""
    )


def handed_on(title: str, key: str, inputs: tuple[Any, ...]) -> Any:
    match title:
        case "train":
            networks = inputs[1].networks
            return tuple(Noun(f"{key}-{number}", model(f"member-{number}", networks)) for number in range(3))
        case "ensemble":
            return Noun(key, model("ensemble", [NetworkConfig(name="ensemble"), *inputs[0][0].card.members]))
        case "distil":
            return Exchanged(cast(Any, Noun(f"{key}-model")), cast(Any, SimpleNamespace(loss=0.0)))
        case "quantize":
            return Noun(key, parts={"served": Noun(f"{key}-served"), "float32": Noun(f"{key}-float32")})
        case "register":  # the same artifact with the same evidence is the same version
            return int(digest_values({"artifact": inputs[0].digest, "evidence": inputs[1].digest})[:8], 16)
        case _:
            return Noun(key)


class Probe:
    """Runs the flow's own body for the keys of its steps."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.data, self.further = root, "data", "further data"
        self.found: dict[str, str] = {}
        self.known: dict[str, KnownBy] = {}
        patch.setenv("CONVOY_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(provenance, "CODE", root)
        patch.setattr(Step, "__call__", self._call())
        patch.setattr(dataset_steps, "_made", self._dataset)
        patch.setattr(course.steps, "validation", lambda data: dataset_steps._validation(data, data, data))
        patch.setattr(training_steps, "_worth_it", lambda *_: None)
        for name in ("concluded", "_show"):
            patch.setattr(flow, name, lambda *_: None)

    def keys(self, *overrides: str) -> dict[str, str]:
        forget_code()
        self.found = {}
        flow.line.fn("digits", list(overrides))
        return self.found

    def _dataset(self, name: str) -> Noun:
        digest = self.data if name == "digits" else self.further
        spec = ImageSpec(height=8, width=8, channels=1, mean=(0.5,), std=(0.5,))
        classes, splits = ("a", "b"), {"train": 1}
        card = DatasetCard(
            name=name, task="classification", classes=classes, groups=(), input=spec, splits=splits, fingerprint=""
        )
        return Noun(digest, card)

    def _call(self) -> Any:
        def call(step: Step[Any, Any], *args: Any, **kwargs: Any) -> Any:
            known = step.known_by(*args, **kwargs)
            key = known.key(step.title)
            self.found[step.title], self.known[step.title] = key, known
            return handed_on(step.title, key, args)

        return call


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Iterator[Probe]:
    with pytest.MonkeyPatch.context() as patch:
        yield Probe(make_project(tmp_path_factory.mktemp("changes")), patch)
    forget_code()


@pytest.fixture(scope="module")
def before(probe: Probe) -> dict[str, str]:
    keys = probe.keys()
    assert list(keys) == STEPS
    assert len(set(keys.values())) == len(STEPS)
    return keys


def touched(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert list(after) == list(before)
    return {step for step in before if before[step] != after[step]}


def test_nothing_changed_touches_nothing(probe: Probe, before: dict[str, str]) -> None:
    assert touched(before, probe.keys()) == set()


def test_new_data_touches_every_step(probe: Probe, before: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "data", "other data")
    assert touched(before, probe.keys()) == set(STEPS)


def test_unlabelled_images_touch_the_student_and_what_is_made_of_it(
    probe: Probe, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = probe.root / "params.yaml"
    content = params.read_text(encoding="utf-8")
    entry = "  more: {task: classification, source: {kind: digits}, image: {height: 8, width: 8, channels: 1}}\n"
    params.write_text(content.replace("datasets:\n", f"datasets:\n{entry}", 1), encoding="utf-8")
    try:
        with_more = probe.keys("student.unlabelled=more")
        assert touched(before, with_more) == DISTIL
        monkeypatch.setattr(probe, "further", "other further data")
        assert touched(with_more, probe.keys("student.unlabelled=more")) == DISTIL
    finally:
        params.write_text(content, encoding="utf-8")


def test_another_library_touches_every_step(
    probe: Probe, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dict(probe.known)
    there = dict(provenance.installed())
    monkeypatch.setattr(provenance, "installed", lambda: there | {"numpy": "9.0.0"})
    assert touched(before, probe.keys()) == set(STEPS)
    assert probe.known["train"].changed(first["train"])[-1] == f"libraries: numpy {there['numpy']} → 9.0.0"


@pytest.mark.parametrize("edit", [("numpy==", "# tested together\nnumpy=="), ("\n", "\r\n"), ("numpy==", "numpy==9")])
def test_what_the_lock_says_beside_the_libraries_that_run_touches_nothing(
    probe: Probe, before: dict[str, str], edit: tuple[str, str]
) -> None:
    lock = probe.root / "requirements.lock"
    content = lock.read_bytes()
    lock.write_bytes(content.replace(edit[0].encode(), edit[1].encode()))
    try:
        assert touched(before, probe.keys()) == set()
    finally:
        lock.write_bytes(content)


def test_another_processor_touches_what_is_measured_on_it(
    probe: Probe, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dict(probe.known)
    here = machine.kind()
    monkeypatch.setattr(machine, "kind", lambda: here | {"cores": "64"})
    assert touched(before, probe.keys()) == QUANTIZE
    assert probe.known["quantize"].changed(first["quantize"]) == [f"machine: cores {here['cores']} → 64"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        # A gate reads the drift; register keeps the reference that later data is compared with.
        ("drift.sample=1999", {"drift", "register", "promote"}),
        ("augment.crop=2", {"augmentation", *TRAIN}),
        ("seed=1", {"augmentation", *TRAIN}),
        ("training.learning_rate=0.02", TRAIN),
        ("members.epochs=3", TRAIN),
        ("ensemble.combiner=soft", ENSEMBLE),
        ("ensemble.allowance=0.5", set()),  # what it stops is the line, not the ensemble
        ("student.temperature=4.0", DISTIL),
        ("student.allowance=0.5", set()),
        ("quantize.batch=32", QUANTIZE),
        ("evaluate.bootstrap=201", EVALUATE),
        ("gates.floor.limit=0.3", {"promote"}),
    ],
)
def test_a_changed_parameter_touches_exactly(
    probe: Probe, before: dict[str, str], override: str, expected: set[str]
) -> None:
    assert touched(before, probe.keys(override)) == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("data/validation/validate.py", {"data-validation"}),
        ("data/drift/comparison.py", {"drift", "promote"}),
        ("data/drift/profile.py", {"drift", "register", "promote"}),
        ("augment/preview.py", {"augmentation"}),
        ("training/loop/loop.py", TRAIN),
        ("training/jobs/members.py", TRAIN),
        ("compress/ensembling/picture.py", ENSEMBLE),
        ("compress/distil.py", DISTIL),
        ("compress/quantize.py", QUANTIZE),
        ("evaluate/chain.py", EVALUATE),
        ("registry/card.py", {"register"}),
        ("evaluate/report.py", {"promote"}),
        ("registry/decisions.py", {"promote"}),
        ("data/sources/coco.py", set()),  # what it makes is in the data's digest
        ("tasks/classification.py", TRAIN | {"data-validation"}),
        ("tasks/segmentation.py", set()),
        ("inputs/text.py", set()),
        ("models/families/residual.py", TRAIN),
        ("models/families/unet.py", set()),
    ],
)
def test_changed_code_touches_exactly(probe: Probe, before: dict[str, str], module: str, expected: set[str]) -> None:
    path = probe.root / "components" / module
    content = path.read_text(encoding="utf-8")
    try:
        path.write_text(f"{content}\n\nCHANGED = 1\n", encoding="utf-8")
        assert touched(before, probe.keys()) == expected
    finally:
        path.write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    "module",
    ["tasks/depth.py", "targets/depths.py", "inputs/sound.py", "models/families/wide.py", "data/sources/camera.py"],
)
def test_a_new_member_of_a_registry_touches_nothing(probe: Probe, before: dict[str, str], module: str) -> None:
    path = probe.root / "components" / module
    path.write_text(
        "from components.models.registry import register\n\nTASK = 1\nTARGET = 1\nINPUT = 1\n", encoding="utf-8"
    )
    try:
        assert touched(before, probe.keys()) == set()
        assert touched(before, probe.keys("student.network={name: mobilenet}")) == DISTIL
    finally:
        path.unlink()


def test_the_code_of_another_family_counts_where_it_is_named(probe: Probe, before: dict[str, str]) -> None:
    other = probe.keys("student.network={name: mobilenet}")
    path = probe.root / "components" / "models" / "families" / "mobilenet.py"
    content = path.read_text(encoding="utf-8")
    try:
        path.write_text(f"{content}\n\nCHANGED = 1\n", encoding="utf-8")
        assert touched(other, probe.keys("student.network={name: mobilenet}")) == DISTIL
        assert touched(before, probe.keys()) == set()
    finally:
        path.write_text(content, encoding="utf-8")


def test_a_remark_in_code_touches_nothing(probe: Probe, before: dict[str, str]) -> None:
    path = probe.root / "components" / "training" / "loop" / "loop.py"
    content = path.read_text(encoding="utf-8")
    path.write_text(f"{content}\n\n# a remark\n", encoding="utf-8")
    try:
        assert touched(before, probe.keys()) == set()
    finally:
        path.write_text(content, encoding="utf-8")


def test_a_changed_body_touches_its_step_and_those_below(
    probe: Probe, before: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = inspect.getsource

    def changed(value: Any) -> str:
        return real(value) + ("    changed = 1\n" if value.__name__ == "_distil" else "")

    monkeypatch.setattr(inspect, "getsource", changed)
    assert touched(before, probe.keys()) == DISTIL


def test_a_step_that_is_done_says_what_has_changed_by_name(probe: Probe, before: dict[str, str]) -> None:
    probe.keys()
    first = dict(probe.known)
    probe.keys("student.temperature=4.0", "gates.floor.limit=0.3")
    why = {step: probe.known[step].changed(first[step]) for step in STEPS}
    assert why["distil"] == ["settings: student.temperature 3.0 → 4.0"]
    assert why["ensemble"] == []
    assert why["evaluate"] == ["inputs: models"]
    assert "gates.floor.limit 0.2 → 0.3" in why["promote"][-1]


def test_changed_code_is_named(probe: Probe, before: dict[str, str]) -> None:
    probe.keys()
    first = dict(probe.known)
    path = probe.root / "components" / "models" / "families" / "residual.py"
    content = path.read_text(encoding="utf-8")
    path.write_text(f"{content}\n\nCHANGED = 1\n", encoding="utf-8")
    try:
        probe.keys()
        assert probe.known["train"].changed(first["train"]) == ["code: components.models.families.residual"]
    finally:
        path.write_text(content, encoding="utf-8")
