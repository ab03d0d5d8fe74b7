"""The whole configuration, checked before anything starts: also what only the registries know."""

from __future__ import annotations

from components import config
from components.config import ConfigurationError, Recipe
from flows.base.project import Project


def complete(project: Project, recipe: str, overrides: list[str]) -> Recipe:
    """The configuration, complete and correct; raises ConfigurationError with every mistake."""
    from components.compress.ensembling import problems as ensembling
    from components.compress.pruning import prune
    from components.evaluate import robustness
    from components.evaluate.baselines import asked as baselines
    from components.inputs import registry as inputs
    from components.models import registry as models
    from components.models import weights
    from components.tasks import gated
    from components.tasks import registry as tasks
    from components.training.jobs import imbalance, members
    from components.training.objectives import objective
    from components.training.optimizing import transfer

    settings = config.load(project.root, None if recipe == "default" else recipe, overrides)
    wrong, form, given = [], None, settings.dataset.input_kind
    if settings.dataset.task not in tasks.names():
        wrong.append(
            f"datasets.{settings.line.dataset}.task: expected one of {', '.join(tasks.names())}, "
            f"received {settings.dataset.task!r}"
        )
    else:
        task = tasks.get(settings.dataset.task)
        form = task.gives
        wrong += imbalance.problems(settings.line.training.imbalance, task, "line.training.imbalance")
        wrong += gated.problems(settings.line.gates, task, "line.gates")
        wrong += objective.problems(settings.line.training, task, "line.training")
        wrong += baselines.problems(settings.line, task, given)
        split = settings.dataset.split
        wrong += members.problems(settings.line, task, grouped=split.group is not None and split.folds is None)
        wrong += ensembling.problems(settings.line, task)
    kind = inputs.get(given)
    if not kind.augmented:
        changes = {"line.augment": settings.line.augment}
        changes |= {f"line.members.augments.{i}": each for i, each in enumerate(settings.line.members.augments)}
        wrong += [
            f"{key}.{name}: expected 0, since {kind.many} are learnt from as they are, received {getattr(each, name)}"
            for key, each in changes.items()
            for name in each.switched_on
        ]
    wrong += robustness.problems(settings.line.evaluate, given, "line.evaluate")
    wrong += prune.problems(settings.line, "line.prune")
    networks = {f"line.members.networks.{i}": network for i, network in enumerate(settings.line.members.networks)}
    if settings.line.student is not None:
        networks["line.student.network"] = settings.line.student.network
        networks |= {f"line.student.assistants.{i}": n for i, n in enumerate(settings.line.student.assistants)}
    for key, network in networks.items():
        wrong += models.problems(network, key, form, given) or weights.problems(network, key)
    wrong += transfer.problems(settings.line.training.transfer, networks, "line.training.transfer")
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return settings


def advice(settings: Recipe) -> list[str]:
    """What is allowed and seldom meant, a line each. Imports no engine."""
    from components.training.optimizing import scaling

    return scaling.advice(settings.line.training, "line.training")
