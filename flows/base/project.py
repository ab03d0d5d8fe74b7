"""Where the project is, where its state lies, and what the engines are told before they are imported.

Everything that a run leaves behind is below `.convoy/` (and `data/`, which is DVC's). The same code runs on servers
when the engines' own variables name them.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from components import texts
from components.config import ConfigurationError
from components.environment import keep_inside, prepare_environment, who
from components.extensions import Extension, ExtensionError
from components.members import OPEN, added
from components.release import CODE, cloned
from components.secrecy import part_accounts, watch_logs, watch_streams

LOOPBACK = "127.0.0.1"
MLFLOW_PORT = 5000  # MLflow's own default
PREFECT_PORT = 4200  # Prefect's own default
EVIDENTLY_PORT = 8000  # Evidently's own default
INDEX_PORT = 4000  # of the page that links to the others


@dataclass(frozen=True)
class Project:
    """A folder with `params.yaml` and `dvc.yaml`."""

    root: Path

    @property
    def state(self) -> Path:
        return self.root / ".convoy"

    @property
    def locks(self) -> Path:
        return self.state / "locks"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def leases(self) -> Path:
        """One file a run under way, so that the next start can tidy up after one that was killed."""
        return self.state / "lines"

    @property
    def work(self) -> Path:
        """What steps have begun and not finished: checkpoints, and results on their way to MLflow."""
        return self.state / "work"

    @property
    def decoded(self) -> Path:
        """Decoded splits that trainings map into memory; removing it costs nothing but the decoding."""
        return self.state / "decoded"

    @property
    def prefect_home(self) -> Path:
        return self.state / "prefect"

    @property
    def drift_history(self) -> Path:
        """Evidently's workspace."""
        return self.state / "evidently"


# Prefect reads these when it is imported: workers have them from the deployment (`deployments.deploy`).
PREFECT_EARLY = {
    # Heartbeats let a server notice a line whose machine died; its own start-up tidies the rest.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # Waits of 2, 4, 8 … s between them, four minutes in all: a server that is started again is waited for.
    "PREFECT_CLIENT_MAX_RETRIES": "7",
}


def find(start: Path | None = None) -> Project:
    """The project that `start` (the current folder) lies in; CONVOY_ROOT overrides. Raises ConfigurationError."""
    named = os.environ.get("CONVOY_ROOT")
    place = (Path(named) if named else start or Path.cwd()).resolve()
    for folder in (place, *place.parents):
        if is_project(folder):
            check_place(folder)
            return Project(folder)
    raise ConfigurationError(
        f"{place}: expected a folder with params.yaml and dvc.yaml here or above, found none; change into the project, "
        "set CONVOY_ROOT, or make one with `convoy init FOLDER`"
    )


def is_project(folder: Path) -> bool:
    """Whether a folder itself is one."""
    return (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file()


def check_place(root: Path) -> None:
    """A database's address ends at a `?`: what stands before it would be taken for the file, outside of the project."""
    if any(letter == "?" or unicodedata.category(letter) in ("Cc", "Cs") for letter in str(root)):
        raise ConfigurationError(
            f"{str(root)!r}: expected a project in a folder without `?`, control characters and bytes that are no text "
            "in its path, since databases cannot be addressed there; rename that folder (a project can be moved)"
        )


def enter(project: Project) -> None:
    """Make the project's folders, and set what the engines read at import. What the user has set is kept.

    Raises ConfigurationError where the state cannot be written, where this is the code of another project, and where
    an installed package adds what cannot be used.
    """
    _check_code(project)
    check_extensions()
    part_accounts()
    watch_logs()
    watch_streams()
    prepare_environment()
    try:
        for folder in (project.locks, project.logs, project.leases, project.work, project.prefect_home):
            folder.mkdir(parents=True, exist_ok=True)
            _check_writable(folder)
        keep_inside(project.root)
    except OSError as error:
        raise ConfigurationError(
            f"{project.state}: expected a folder that {who()} can write: {error}; make the project writable for that "
            "user, or work in a copy of it (`cp -r`)"
        ) from error
    defaults = {
        "PREFECT_HOME": str(project.prefect_home),
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_CLI_PROMPT": "false",
        # In memory, its default, a server that is started again would end the runs that are under way.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        **PREFECT_EARLY,
        "CONVOY_MLFLOW_UI": f"http://{LOOPBACK}:{MLFLOW_PORT}",
        # The pages of the server that is named now; one that a run starts for itself is gone when somebody looks.
        "CONVOY_PREFECT_UI": os.environ.get("PREFECT_API_URL", f"http://{LOOPBACK}:{PREFECT_PORT}").removesuffix(
            "/api"
        ),
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    _share_code()


def check_extensions() -> list[Extension]:
    """What other installed packages add; raises ConfigurationError where one adds what cannot be used."""
    try:
        return [extension for registry in OPEN for extension in added(registry).values()]
    except ExtensionError as error:
        raise ConfigurationError(str(error)) from error


def _check_code(project: Project) -> None:
    """A project that was copied with its environment would be worked on by the original's code, until that is gone.

    CONVOY_ROOT names a project for the code that is called, whatever code lies in it.
    """
    code = Path(__file__).resolve().parents[2]  # of this file, which may be beside another copy of the components
    own = project.root / Path(__file__).resolve().relative_to(code)
    if os.environ.get("CONVOY_ROOT") or not own.is_file() or not cloned():
        return
    if not own.samefile(__file__):
        raise ConfigurationError(
            f"{project.root}: expected this project's own code to run, and it is that of {code}: the environment was "
            f"made there; `make setup` mends one that was copied with the project. Then use .venv/bin/convoy of this "
            f"folder, or set CONVOY_ROOT={texts.shell(str(project.root))} to have that code run here"
        )


def _share_code() -> None:
    """Have the processes that are started from here (stages, Ray's workers) import the code that runs here."""
    if not cloned():
        os.environ["PYTHONSAFEPATH"] = "1"  # what lies in the project, and be it a clone, stands before no package
        return
    known = os.environ.get("PYTHONPATH", "")
    if str(CODE) not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(CODE), known)))


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
