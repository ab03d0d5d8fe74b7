"""The run of the pipeline, or of a study: opened under a lease, told where everything came from, and always closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

from components import provenance, texts
from components.config import Recipe
from components.environment import who
from components.files import digest_values
from components.registry.memory import tracking as memory
from components.registry.memory.store import TrackingError
from components.secrecy import errors_without_secrets, scrub
from flows import preflight
from flows.base.project import Project
from flows.processes import family, leases
from flows.processes.progress import Reporter
from flows.run.context import Line, running
from flows.run.data_revisions import AS_OF
from flows.run.known_by import flat
from flows.run.step import LEASE


@contextmanager
def opened(
    project: Project,
    settings: Recipe,
    recipe: str,
    kind: Literal["pipeline", "tune"],
    reporter: Reporter,
    flow_run: str | None,
    as_of: datetime | None = None,
) -> Iterator[Line]:
    """Settle what killed runs have left, and open the run; it is FINISHED, FAILED or KILLED as the block ends.

    Without a `flow_run` there is no Prefect to be asked: nothing is settled, and whoever calls has looked
    (`leases.tidy`).
    """
    about = family.own()
    if about:  # Prefect has started it, and nobody has looked yet
        preflight.required(project, settings)
    orchestrated = {} if flow_run is None else {"flow_run": flow_run}
    if orchestrated:
        leases.settle(project)
    connection = memory.connect(project.root, settings.line.model)
    with errors_without_secrets(), leases.leased(project, **about) as lease:
        lease.note(**orchestrated, experiment=settings.line.model)
        run_id = None
        try:
            origin = custody(project, settings, recipe)
            origin |= {} if flow_run is None else {"convoy.prefect_flow_run": flow_run}
            origin |= {} if as_of is None else {AS_OF: as_of.isoformat()}
            tags = {LEASE: lease.id, memory.KIND: kind, **origin}
            run_id = connection.start_run(f"{kind} · {recipe}", tags=tags)
            connection.log_params(run_id, flat(settings.line.model_dump(mode="json")))
            with running(Line(project, settings, connection, run_id, lease, reporter, origin, as_of)) as run:
                yield run
            connection.finish(run_id)
        except BaseException as error:
            try:
                if run_id is not None:
                    status: memory.Status = "FAILED" if isinstance(error, Exception) else "KILLED"
                    connection.log_note(run_id, f"**{status.lower()}**: {_lines(str(error))}")
                    connection.finish(run_id, status)
                leases.close_runs(project, lease)  # what an interruption has left open, wherever it came
            except TrackingError:
                lease.leave_open()  # MLflow is what failed; the error under way says so, and the next start closes it
            raise


def _lines(message: str) -> str:
    """A message of several lines as Markdown."""
    return "  \n".join(texts.markdown(line) for line in scrub(message).splitlines())


def custody(project: Project, settings: Recipe, recipe: str) -> dict[str, str]:
    """What the parent run's tags say of where everything came from."""
    return {
        "convoy.recipe": recipe,
        "convoy.dataset": settings.line.dataset,
        "convoy.parameters": settings.digest(),
        **({"convoy.overrides": scrub(" ".join(map(texts.shell, settings.overrides)))} if settings.overrides else {}),
        "convoy.lock": digest_values(provenance.libraries(project.root)),
        "mlflow.source.git.commit": provenance.git_commit(project.root),
        "mlflow.source.name": f"convoy run --recipe {texts.shell(recipe)}",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": who(),
    }
