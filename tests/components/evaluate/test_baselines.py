"""Simple models beside the network: what they are shown, what they learn, and how a gate holds a version by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from components.artifacts import Dataset, DatasetCard, Figure, ImageSpec, TextSpec
from components.config import load
from components.config.gates import BaselineGate
from components.data.reading.loading import load_split
from components.evaluate.baselines import asked, image, text
from components.evaluate.baselines.judging import baselines, fitted
from components.members import BASELINES, INPUTS
from components.registry import gates
from components.tasks import linear
from components.tasks import registry as tasks
from components.tasks.asking import ask
from components.tokenizing import Tokenizer
from tests.components.evaluate.evaluate_builders import CONFIG
from tests.components.evaluate.test_predict import png
from tests.components.registry.registry_builders import build_case, build_evidence

ROOT = Path(__file__).parents[3]
DIGITS = load_digits()
PIXELS = np.round(DIGITS.images * 255 / 16).astype(np.uint8)[..., None]
LEARNT, SAMPLES = 400, 600
SPEC = ImageSpec(height=8, width=8, channels=1, mean=(0.3,), std=(0.37,))
INK = {"kind": "values", "names": ["ink"], "units": ["mg"], "mean": [4.9], "std": [0.4], "low": [3.0], "high": [6.0]}


def digits(folder: Path, task: str) -> Dataset:
    """scikit-learn's digits: their class, or how much ink they have."""
    ink = PIXELS.mean(axis=(1, 2, 3)) / 16.0
    targets = {"classification": DIGITS.target, "regression": [[float(one)] for one in ink]}[task]
    folder.mkdir()
    for split, rows in (("train", slice(0, LEARNT)), ("test", slice(LEARNT, SAMPLES))):
        table = {
            "id": [f"digit-{number}" for number in range(SAMPLES)[rows]],
            "image": [png(each[..., 0]) for each in PIXELS[rows]],
            "target": targets[rows],
        }
        pq.write_table(pa.table(table), folder / f"{split}-00000.parquet")
    card = DatasetCard(
        name="digits",
        task=task,
        classes=tuple("0123456789") if task == "classification" else (),
        groups=(),
        input=SPEC,
        splits={"train": LEARNT, "test": SAMPLES - LEARNT},
        fingerprint="0" * 64,
        target=INK if task == "regression" else {},
    )
    (folder / "dataset.json").write_text(card.to_json(), encoding="utf-8")
    return Dataset.load(folder)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return digits(tmp_path_factory.mktemp("numbers") / "data", "classification")


def test_every_kind_of_input_has_them() -> None:
    assert BASELINES.names() == INPUTS.names()
    assert all({"prior", "linear"} <= set(BASELINES.load(name).BASELINES) for name in BASELINES.names())


def test_who_is_shown_nothing_says_how_frequent_each_class_is(numbers: Dataset) -> None:
    train, test = load_split(numbers, "train"), load_split(numbers, "test")
    answer = fitted(image.BASELINES["prior"], tasks.get("classification"), train, numbers.card)(test.inputs)
    shares = np.bincount(train.targets, minlength=10) / len(train)
    np.testing.assert_allclose(answer["probabilities"], np.tile(shares, (len(test), 1)), atol=2e-3)
    assert set(answer["prediction"].tolist()) == {int(shares.argmax())}


def test_pictures_are_shown_as_means_of_blocks() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 37, 20, 3), dtype=np.uint8)
    seen = image.pixels(pictures, SPEC)(pictures)
    means = np.stack(
        [pictures[:, y : y + 3, x : x + 2].mean(axis=(1, 2)) for y in range(0, 36, 3) for x in range(0, 20, 2)]
    )
    flat = means.transpose(1, 0, 2).reshape(5, -1)
    np.testing.assert_allclose(seen, (flat - flat.mean(axis=0)) / flat.std(axis=0), atol=1e-4)


def test_texts_are_shown_as_scikit_learn_weighs_their_ngrams() -> None:
    texts = ["the cat sat on the mat", "the dog sat", "a mat", "", "the cat the cat"]
    words = sorted({word for line in texts for word in line.split()})
    spec = TextSpec(kind="text", unit="word", length=8, lower=True, vocabulary=tuple(words))
    values = Tokenizer(spec.model_dump()).encode(texts)
    seen = text.ngrams(values, spec)(values)
    vectors = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, tokenizer=str.split, token_pattern=None
    ).fit_transform(texts)
    np.testing.assert_allclose((seen @ seen.T).toarray(), (vectors @ vectors.T).toarray(), atol=1e-6)


def test_a_linear_model_of_classes_is_scikit_learns() -> None:
    features, labels = (PIXELS[:LEARNT].reshape(LEARNT, -1) / 255.0).astype(np.float32), DIGITS.target[:LEARNT]
    asked_ = (PIXELS[LEARNT:SAMPLES].reshape(-1, 64) / 255.0).astype(np.float32)
    found = linear.logistic(features, labels, 12)(asked_)
    assert found.shape == (200, 12) and not found[:, 10:].any()
    each = [
        LogisticRegression(C=1.0 / s, max_iter=300).fit(features, labels).predict_proba(asked_)
        for s in linear.STRENGTHS
    ]
    assert any(np.allclose(found[:, :10], one, atol=1e-6) for one in each)
    assert (found.argmax(axis=1) == DIGITS.target[LEARNT:SAMPLES]).mean() > 0.8
    assert (linear.logistic(features, np.full(LEARNT, 3), 10)(asked_).argmax(axis=1) == 3).all()


def test_a_linear_model_of_numbers_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 5))
    values = features @ random.normal(size=(5, 2)) * [1.0, 1000.0] + random.normal(size=(200, 2)) * [0.1, 100.0]
    found = linear.ridge(features, values)(features)
    each = [Ridge(alpha=s * 200).fit(features, values).predict(features) for s in linear.STRENGTHS]
    assert any(np.allclose(found, one) for one in each)
    assert ((found - values).std(axis=0) < 0.2 * values.std(axis=0)).all()


def test_how_far_a_model_is_ahead(numbers: Dataset) -> None:
    task, test = tasks.get("classification"), load_split(numbers, "test")
    config = changed(CONFIG, baselines=("prior", "linear"))

    def knows(inputs: Any) -> dict[str, Any]:
        """Nine in ten digits; each input is found among the test split's."""
        place = [int(np.flatnonzero((test.inputs == one).all(axis=(1, 2, 3)))[0]) for one in inputs]
        labels = np.where(np.array(place) % 10 == 0, (test.targets[place] + 1) % 10, test.targets[place])
        return {"probabilities": np.eye(10, dtype=np.float32)[labels], "prediction": labels}

    predictions = ask(task, knows, test, numbers.card, split="test", data=numbers.digest)
    figures = baselines(predictions, numbers, config)
    assert figures.keys() == {f"{part}_{name}" for part in ("baseline", "ahead_of") for name in ("prior", "linear")}
    frequent = np.bincount(DIGITS.target[:LEARNT]).argmax()
    assert figures["baseline_prior"].value == pytest.approx((test.targets == frequent).mean())
    for name in ("prior", "linear"):
        ahead = figures[f"ahead_of_{name}"]
        assert ahead.value == pytest.approx(0.9 - figures[f"baseline_{name}"].value)
        assert ahead.low is not None and ahead.high is not None and ahead.low < ahead.value < ahead.high
    assert baselines(predictions, numbers, CONFIG) == {}


def test_ahead_is_better_whichever_way_the_metric_counts(tmp_path: Path) -> None:
    dataset = digits(tmp_path / "data", "regression")
    task, test = tasks.of(dataset.card), load_split(dataset, "test")
    exact = np.asarray(test.targets, np.float32)

    def knows(inputs: Any) -> dict[str, Any]:
        part = np.array([int(np.flatnonzero((test.inputs == one).all(axis=(1, 2, 3)))[0]) for one in inputs])
        return {"value": exact[part] + 0.1, "low": exact[part] - 1, "high": exact[part] + 1}

    predictions = ask(task, knows, test, dataset.card, split="test", data=dataset.digest)
    figures = baselines(predictions, dataset, changed(CONFIG, baselines=("prior", "linear")))
    spread = float(np.sqrt(((exact - np.asarray(load_split(dataset, "train").targets).mean()) ** 2).mean()))
    assert figures["baseline_prior"].value == pytest.approx(spread, rel=1e-3)
    assert figures["ahead_of_prior"].value == pytest.approx(1 - 0.1 / spread, rel=1e-3)  # in parts of the baseline's
    # The mean of all pixels is a linear function of them: nobody is ahead of who has learnt it.
    assert figures["baseline_linear"].value < 0.05
    assert figures["ahead_of_linear"].value < 0


def test_what_cannot_be_is_refused_before_anything_starts() -> None:
    line = load(ROOT, None, ["evaluate.baselines=[linear, forest]"]).line
    assert asked.problems(line, tasks.get("classification"), "image") == [
        "line.evaluate.baselines: expected some of prior, linear for inputs of kind image, received forest"
    ]
    assert asked.problems(line, tasks.get("segmentation"), "image") == [
        "line.evaluate.baselines: expected none, since task segmentation has none, received linear, forest"
    ]
    gated = line.model_copy(update={"gates": (BaselineGate(gate="baseline", baseline="prior"),)})
    assert asked.problems(gated, tasks.get("classification"), "image")[0] == (
        "line.gates: expected a baseline among line.evaluate.baselines (linear, forest), received prior"
    )


@pytest.mark.parametrize(
    ("figure", "passed", "reason"),
    [
        (Figure(value=0.05, low=0.021, high=0.08), True, "baseline linear: 0.021 >= 0.02"),
        (Figure(value=0.05, low=0.019, high=0.08), False, "baseline linear: 0.019 < 0.02"),
        (Figure(value=0.05), False, "has no interval"),
        (None, False, "name linear among line.evaluate.baselines"),
    ],
)
def test_the_gate_is_about_the_worse_end(figure: Figure | None, passed: bool, reason: str) -> None:
    good = build_evidence("a" * 64)
    found = {} if figure is None else {"ahead_of_linear": figure}
    case = build_case(good.model_copy(update={"figures": good.figures | found}))
    (verdict,) = gates.judge(case, (BaselineGate(gate="baseline", margin=0.02),))
    assert (verdict.gate, verdict.passed) == ("baseline linear", passed) and reason in verdict.reason


def changed(config: Any, **changes: Any) -> Any:
    return config.model_copy(update=changes)
