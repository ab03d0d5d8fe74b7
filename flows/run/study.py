"""What `convoy tune` is asked for, as a study: checked before anything starts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from components.config import ConfigurationError, LineConfig, Recipe
from components.models import registry as models
from components.tasks import registry as tasks
from components.training.jobs import imbalance
from components.training.objectives import objective
from components.training.optimizing.stopping import of_validation
from components.training.tuning.recipe import check_free
from components.training.tuning.space import parse_search, space_of
from components.training.tuning.study import Study
from flows.base.project import Project
from flows.run.check import complete


def overrides_of(search: Sequence[str], **settings: object) -> list[str]:
    """Options of the command as keys of `line.tune`: what is searched, and settings that are not None."""
    told = [f"tune.{key}={value}" for key, value in settings.items() if value is not None]
    domains: dict[str, str] = {}
    for text in search:
        domains |= parse_search(text)
    # JSON is YAML, and keeps the keys' dots together.
    return [f"tune.search={json.dumps(domains)}", *told] if domains else told


def study_of(settings: Recipe) -> Study:
    """The study of a whole configuration; raises ConfigurationError with every mistake."""
    task = tasks.get(settings.dataset.task)

    def problems(line: LineConfig) -> list[str]:
        wrong = imbalance.problems(line.training.imbalance, task, "training.imbalance")
        wrong += objective.problems(line.training, task)
        return wrong + models.problems(line.members.networks[0], "members.networks.0")

    study = Study(
        line=settings.line,
        space=space_of(settings.line, problems),
        task=settings.dataset.task,
        watched=of_validation(task.spec.primary),
    )
    study.check()
    return study


def checked(project: Project, recipe: str, overrides: list[str], output: str | None, *, force: bool) -> Study:
    """The study that these arguments ask for; raises ConfigurationError where they cannot be followed."""
    wrong, study = [], None
    try:
        study = study_of(complete(project, recipe, overrides))
    except ConfigurationError as error:
        wrong.append(str(error))
    try:
        check_free(recipe_file(project, recipe, output), force=force)
    except ConfigurationError as error:
        wrong.append(str(error))
    if wrong or study is None:
        raise ConfigurationError("\n".join(wrong))
    return study


def recipe_file(project: Project, recipe: str, output: str | None) -> Path:
    """Where the best is written: `output`, or recipes/RECIPE-tuned.yaml."""
    return project.root / (output or f"recipes/{Path(recipe).stem}-tuned.yaml")
