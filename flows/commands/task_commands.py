"""`convoy tasks`: what can be learnt, from what, how it is judged, by which networks, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from components.config import ConfigurationError, load, recipes
from flows.base.project import Project, check_extensions, find
from flows.base.screen import Screen, say_json
from flows.commands import terminal

if TYPE_CHECKING:
    from components.tasks.protocol import Task

DEFAULT = "default"  # the recipe of params.yaml itself
WAYS = {"more": "more is better", "less": "less is better"}


def tasks(json: Annotated[bool, typer.Option("--json", help="JSON on the standard output.")] = False) -> None:
    """List the tasks with their data, metrics, networks and recipes, and the steps that each takes part in."""
    try:
        project = find()
        check_extensions()
    except ConfigurationError as error:
        terminal.stop(Screen(stderr=True), str(error), terminal.WRONG)
    from components.tasks import registry

    used = _recipes(project)
    described = [_described(registry.get(name), used) for name in registry.names()]
    if json:
        say_json(described)
    else:
        Screen().print(Group(*(part for each in described for part in _shown(each))))


def recipe_for(project: Project, task: str) -> list[str]:
    """`-r NAME` of a recipe that learns the task: none where it is that of params.yaml, or where there is none."""
    learning = _recipes(project).get(task, [DEFAULT])
    return [] if DEFAULT in learning else ["-r", learning[0]]


def _recipes(project: Project) -> dict[str, list[str]]:
    """Task → the recipes that learn it; one that is wrong is for `convoy run` to tell."""
    found: dict[str, list[str]] = {}
    for name in (DEFAULT, *recipes(project.root)):
        try:
            task = load(project.root, None if name == DEFAULT else name, []).dataset.task
        except ConfigurationError:
            continue
        found.setdefault(task, []).append(name)
    return found


def _described(task: Task, used: Mapping[str, list[str]]) -> dict[str, Any]:
    from components.models import registry as models
    from components.models.forms import VECTOR
    from components.targets import registry as targets
    from components.tasks import capabilities

    spec, target = task.spec, targets.get(task.spec.target)
    families: dict[str, list[str]] = {}  # by the kind of input that they are for
    for name in (each for each in models.names() if models.gives(each) == task.gives):
        families.setdefault(models.takes(name), []).append(name)
    if task.gives == VECTOR:
        families.setdefault("image", []).extend(("torchvision:NAME", "timm:NAME"))
    return {
        "task": spec.name,
        "says": (type(task).__doc__ or "").strip().splitlines()[0],
        "inputs": sorted(families),
        "target": spec.target,
        "target_says": target.says,
        "gives": task.gives,
        "outputs": [output.name for output in spec.outputs],
        "metrics": {metric.name: WAYS[metric.better] for metric in spec.metrics},
        "networks": families,
        "can": [words for capability, words in capabilities.SAYS.items() if isinstance(task, capability)],
        "cannot": [words for capability, words in capabilities.SAYS.items() if not isinstance(task, capability)],
        "recipes": used.get(spec.name, []),
    }


def _shown(task: Mapping[str, Any]) -> tuple[Text, Table, Text]:
    primary, *others = task["metrics"]
    rows = {
        "learns from": f"{' or '.join(task['inputs'])} and {task['target']}: {task['target_says']}",
        "judged by": f"{primary} ({task['metrics'][primary]}); also {', '.join(others)}",
        "networks": "; ".join(f"for {given}: {', '.join(names)}" for given, names in sorted(task["networks"].items())),
        "can": "; ".join(task["can"]),
        "cannot": "; ".join(task["cannot"]),
        "recipes": ", ".join(task["recipes"]) or "none yet",
    }
    table = Table.grid(padding=(0, 2))
    for name, said in rows.items():
        if said:
            table.add_row(Text(f"  {name}", style="dim"), Text(said))
    return Text.assemble((task["task"], "bold"), f"  {task['says']}"), table, Text()
