"""How far a model is ahead of simple ones that have learnt from the same samples.

A network that is hardly better than a linear model, or than the most frequent answer, is seldom worth what it costs,
and often has not learnt what it was meant to.
"""

from __future__ import annotations

from components.artifacts import Dataset, DatasetCard, Figure, Predictions, Split
from components.config import EvaluateConfig
from components.data.reading.loading import Arrays, load_split
from components.evaluate.baselines import registry
from components.evaluate.baselines.protocol import Learn
from components.evaluate.evaluate import metric_figures, paired
from components.tasks import registry as tasks
from components.tasks.answers import Answerer
from components.tasks.asking import ask
from components.tasks.capabilities import Fitting
from components.tasks.protocol import Task

PREFIX, AHEAD = "baseline_", "ahead_of_"  # of the figures

LEARNT = 20_000  # training samples at most that a simple model learns from, drawn by `evaluate.seed`


def baselines(
    predictions: Predictions, dataset: Dataset, config: EvaluateConfig, *, split: Split = "test"
) -> dict[str, Figure]:
    """`baseline_NAME`, the primary metric of each baseline of `config`, and `ahead_of_NAME`.

    The latter is by how much `predictions`, for the same split, are better on the same samples, with the interval of
    the pairs: absolute of a share, else in parts of the baseline's. Empty where `config` names none.
    """
    if not config.baselines:
        return {}
    task, card = tasks.of(dataset.card), dataset.card
    learnt = load_split(dataset, "train", limit=LEARNT, seed=config.seed)
    asked = load_split(dataset, split)
    figures = {}
    for name in config.baselines:
        answerer = fitted(registry.of(card.input.kind)[name], task, learnt, card)
        other = ask(task, answerer, asked, card, split=split, data=predictions.data)
        figures[f"{PREFIX}{name}"] = metric_figures(other, task, config)[task.spec.primary_metric]
        apart = paired(predictions, other, task, config)
        figures[f"{AHEAD}{name}"] = apart if task.spec.primary.more else _turned(apart)
    return figures


def fitted(learn: Learn, task: Task, samples: Arrays, card: DatasetCard) -> Answerer:
    """A linear model that has learnt from the samples, and answers for inputs as a network would."""
    if not isinstance(task, Fitting):
        raise TypeError(f"task {task.spec.name}: expected one with baselines, received one without")
    see = learn(samples.inputs, card.input)
    answer = task.fitted(see(samples.inputs), samples.targets, card)
    return lambda inputs: answer(see(inputs))


def _turned(apart: Figure) -> Figure:
    """Of a metric of which less is better: how much less."""
    return Figure(
        value=-apart.value,
        low=None if apart.high is None else -apart.high,
        high=None if apart.low is None else -apart.low,
        unit=apart.unit,
    )
