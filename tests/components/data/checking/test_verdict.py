"""What a check says of small, untidy data sets is what the line's own stages come to: never good where the line stops,
never bad where it goes on."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.config import ConfigurationError
from components.data.checking.check import Wanted, check
from components.data.errors import DataError
from components.data.stages import stages
from components.data.validation.rules import fails
from components.inputs.protocol import Expectation

NAMES = ("cat", "dog", "Cat", "dog ", "a/b", "0", "ünï", "=x")
FAULTS = ("none", "none", "none", "none", "blank", "cut", "text", "large", "palette", "alpha", "deep", "copy", "grey")
SETTINGS = (
    *("image.resize=true", "image.resize=false", "image.channels=1", "split.validation=0.1", "split.test=0.4"),
    *("split.folds=2", "split.seed=3", "split.twins=ignore", "split.predefined=ignore", "checks.leakage=drop"),
    *("checks.leakage=move", "checks.leakage=keep", "checks.outliers=review", "checks.label_noise=drop"),
    *("split.group=group_who", "groups=[who]", "checks.reviewed=verdicts.csv", "checks.expectations=own.yaml"),
)


@dataclass(frozen=True)
class Mess:
    """A small data set as a stranger would bring it, and the settings beside it."""

    kind: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    faults: tuple[str, ...]  # of the first pictures, in turn
    split: str  # what the source publishes: nothing, a test split, or one without the last class
    groups: int  # how many people there are; 0: it says of nobody who it is
    settings: tuple[str, ...]
    seed: int


@st.composite
def messes(draw: st.DrawFn) -> Mess:
    classes = tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)))
    kind = draw(st.sampled_from(["folder", "manifest"]))
    return Mess(
        kind=kind,
        classes=tuple(name.replace("/", "-") for name in classes) if kind == "folder" else classes,
        counts=tuple(draw(st.sampled_from([1, 3, 6, 12, 25])) for _ in classes),
        faults=tuple(draw(st.lists(st.sampled_from(FAULTS), max_size=12))),
        split=draw(st.sampled_from(["", "", "test", "lacks"])),
        groups=draw(st.sampled_from([0, 0, 2, 9])),
        settings=tuple(draw(st.lists(st.sampled_from(SETTINGS), max_size=3, unique_by=lambda each: each[:12]))),
        seed=draw(st.integers(0, 3)),
    )


def _picture(fault: str, number: int, seed: int) -> bytes:
    base = np.random.default_rng([seed, 0 if fault == "copy" else number])
    coarse = Image.fromarray(base.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize(
        (14, 12), Image.Resampling.BICUBIC
    )
    altered = {
        "blank": lambda: Image.new("RGB", (14, 12), (9, 9, 9)),
        "large": lambda: coarse.resize((20, 12)),
        "palette": lambda: coarse.convert("P"),
        "alpha": lambda: coarse.convert("RGBA"),
        "deep": lambda: Image.fromarray((np.asarray(coarse.convert("L")).astype(np.uint16)) * 257),
        "grey": lambda: coarse.convert("L"),
    }
    file = io.BytesIO()
    altered.get(fault, lambda: coarse)().save(file, "PNG")
    content = file.getvalue()
    return {"cut": content[: len(content) // 2], "text": b"no picture"}.get(fault, content)


def _write(mess: Mess, root: Path) -> Path:
    """The data set below `root`; what its path is in the catalogue."""
    base, lines, at = root / "mess", ["path,target,split,who"], 0
    for place, (name, count) in enumerate(zip(mess.classes, mess.counts, strict=True)):
        for number in range(count):
            fault = mess.faults[at] if at < len(mess.faults) else "none"
            testing = number % 3 == 0 and not (mess.split == "lacks" and place == len(mess.classes) - 1)
            split = ("test" if testing else "train") if mess.split else ""
            under = name if mess.kind == "folder" else "pictures"
            file = Path(split if mess.kind == "folder" else "") / under / f"{at:03d}.png"
            (base / file).parent.mkdir(parents=True, exist_ok=True)
            (base / file).write_bytes(_picture(fault, at, mess.seed))
            who = f"p{(at * 7) % mess.groups}" if mess.groups and at % 11 != 10 else ""
            lines.append(f'{file.as_posix()},"{name}",{split},{who}')
            at += 1
    (root / "verdicts.csv").write_text("id,verdict\n", encoding="utf-8")
    own = [{"kind": "ExpectColumnValuesToBeBetween", "column": "samples", "table": "counts", "min_value": 2}]
    (root / "own.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    if mess.kind == "folder":
        return base
    if not mess.split:
        lines = [",".join(line.rsplit(",", 2)[::2]) for line in lines]
    (base / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return base / "table.csv"


def _verdicts(mess: Mess, root: Path) -> tuple[str, str]:
    """Why the check refuses, and why the line does; "" where it goes on."""
    path = _write(mess, root)
    scratch = root.parent / f"{root.name}-check"
    try:
        checked = check(str(path), Wanted("mess", settings=mess.settings), root, scratch)
    except (DataError, ConfigurationError) as error:
        return str(error), ""
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    stopping = [row["says"] for row in checked.findings.to_pylist() if row["error"]]
    said = "\n".join([*checked.refusals, *stopping])
    assert bool(said) == bool(checked.errors)
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": {"mess": checked.looked.entry}}), encoding="utf-8")
    try:
        for stage in stages.STAGES:
            stages.run(stage, "mess", root)
    except (DataError, ConfigurationError) as error:
        return said, str(error)
    return said, ""


def _agree(mess: Mess) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        root.mkdir()
        said, stopped = _verdicts(mess, root)
        if not (root / "params.yaml").exists():
            assert said  # nothing could be read: there is no entry that the line could be given
            return
        assert bool(said) == bool(stopped), f"the check: {said or 'good'}\nthe line: {stopped or 'good'}"


UNHURRIED = settings(
    deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck), derandomize=True
)


@settings(UNHURRIED, max_examples=4, phases=[Phase.generate])
@given(messes())
def test_a_check_says_what_the_line_says(mess: Mess) -> None:
    _agree(mess)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(UNHURRIED, max_examples=int(os.environ.get("CONVOY_EXAMPLES", "100")), derandomize=False)
@given(messes())
def test_a_check_says_what_the_line_says_of_many_more(mess: Mess) -> None:
    _agree(mess)


RULES = st.sampled_from(
    [
        Expectation("ExpectColumnValuesToNotBeNull", {"column": "v"}, "error", "there"),
        Expectation("ExpectColumnValuesToBeNull", {"column": "v"}, "error", "not there"),
        Expectation("ExpectColumnValuesToBeInSet", {"column": "v", "value_set": [1, 2]}, "error", "in"),
        Expectation(
            "ExpectColumnValuesToBeBetween", {"column": "v", "min_value": 1, "max_value": 2}, "error", "between"
        ),
        Expectation("ExpectColumnValuesToBeBetween", {"column": "v", "min_value": 2}, "error", "at least"),
    ]
)


@settings(UNHURRIED, max_examples=8, phases=[Phase.generate])
@given(RULES, st.lists(st.sampled_from([None, 0, 1, 2, 3]), min_size=1, max_size=6))
def test_rules_are_judged_as_great_expectations_judges_them(rule: Expectation, values: list[int | None]) -> None:
    import great_expectations as gx
    import great_expectations.expectations as known

    frame = pd.DataFrame({"v": pd.Series(values, dtype="float64")})
    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    batch = asset.add_batch_definition_whole_dataframe("b").get_batch(batch_parameters={"dataframe": frame})

    answer = batch.validate(getattr(known, rule.kind)(**rule.arguments))

    assert int(fails(frame["v"], rule).sum()) == answer.result["unexpected_count"]
