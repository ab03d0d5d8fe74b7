"""What a run needs and may not find, looked at in a second and before anything is started.

Each check is a plain function that returns a `Finding`; none imports an engine. `check` makes all of them: `convoy
doctor` shows what they found, and a run begins with them. What is wrong with the configuration itself is
`flows.run.check`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from components.config import ConfigurationError, Recipe
from components.environment import prepare_environment
from components.secrecy import part_accounts
from flows.base.project import Project
from flows.preflight import clock, computing, libraries, machine, network, orchestration, places, remote, stages, store
from flows.preflight.finding import MARKS, Finding, Level

__all__ = ["MARKS", "Finding", "Level", "check", "required"]

Check = Callable[[], Finding | list[Finding]]


def check(project: Project, recipe: Recipe | None = None, *, ask_remote: bool = False) -> list[Finding]:
    """Everything, in the order in which a person would mend it. `recipe` adds what only that one needs.

    Takes about half a second; what a dead server or firewall costs is bounded by `finding.ANSWER_SECONDS`, and paid
    once, since all are looked at side by side. `ask_remote` asks a DVC remote at the other end of a network, which
    imports DVC.
    """
    part_accounts()
    prepare_environment()  # what a run sets for itself is not to be found missing
    checks: dict[str, Check] = {
        "Python": machine.python,
        "libraries": lambda: libraries.versions(project.root),
        "extensions": libraries.added,
        "project": lambda: places.project_folder(project),
        "stages of data": lambda: stages.stages(project),
        "state": lambda: places.own_state(project),
        "temporary folder": places.temporary_folder,
        "disk": lambda: places.room(project),
        "shared memory": places.shared_memory,
        "memory": machine.memory,
        "CPUs": lambda: machine.processors(recipe),
        "open files": machine.open_files,
        "user": machine.user,
        "loopback": network.loopback,
        "proxy": network.proxy,
        "ports": network.ports,
        "tracking store": lambda: store.tracking(project),
        "Prefect": lambda: orchestration.prefect(project),
        "Ray": computing.ray,
        "DVC remote": lambda: remote.dvc_remote(project, ask=ask_remote),
        "git": lambda: remote.git(project),
        "clock": lambda: clock.clock(project),
    }
    if recipe is not None:
        checks["extras"] = lambda: libraries.extras(recipe)
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        found = list(pool.map(lambda entry: _looked(*entry), checks.items()))
    return [each for several in found for each in several]


def required(project: Project, recipe: Recipe) -> list[Finding]:
    """What is to be known before a run starts; ConfigurationError where it lacks what it cannot do without."""
    found = check(project, recipe)
    missing = [f"{each.check}: {each.found}; {each.way}" for each in found if each.level == "error"]
    if missing:
        raise ConfigurationError("\n".join(missing))
    return [each for each in found if each.level == "warning"]


def _looked(name: str, look: Check) -> Sequence[Finding]:
    """A place that cannot be looked at is a finding too, and hides no other."""
    try:
        found = look()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return [Finding("error", name, f"{where}{error.strerror or error}", "mend that, and look again")]
    return found if isinstance(found, list) else [found]
