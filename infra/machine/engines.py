"""Each server as a process: its command, its environment, and how one knows that it answers."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from components.environment import prepare_environment

from . import databases, store
from .home import LOOPBACK, Home, ServersError, write_private
from .processes import Server

NODES = ("ray-node-1", "ray-node-2")
NODE_CPUS = 1
OBJECT_STORE = 256 * 2**20  # bytes a node: only blocks of streamed data travel through it
POOL = "convoy"
REMOTE = "store"  # the name of the DVC remote
RAY_FOLDER = "ray-folder"  # in the home's private part: where the cluster has its sockets and logs
RAY_STAYS = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # on the loopback, as where there is a firewall that would ask
# Everything that would make one of these servers, or the pipeline, use another one's settings.
FOREIGN = ("PREFECT_", "MLFLOW_", "RAY_", "AWS_", "PG", "WEED_", "CONVOY_SERVER")


@dataclass(frozen=True)
class Kind:
    """One of the servers: what it is, and what is done before it starts, once it answers, and when it is down."""

    server: Callable[[Home], Server]
    prepare: Callable[[Home], object] = lambda home: None
    afterwards: Callable[[Home], object] = lambda home: None
    tidy: Callable[[Home], object] = lambda home: None


def postgres(home: Home) -> Server:
    return Server(
        "postgres",
        databases.command(home),
        _environment(),
        lambda _: databases.answers(home),
        ports=[home.ports["postgres"]],
        user=databases.account(),
        folder=Path("/"),
        stop_signal=signal.SIGINT,  # does not wait for clients to leave
    )


def s3(home: Home) -> Server:
    ports = [number for name, number in home.ports.items() if name.startswith("s3")]
    environment = _environment() | store.internal(home)
    return Server("s3", store.command(home), environment, lambda _: store.answers(home), ports, folder=home.store)


def mlflow(home: Home) -> Server:
    port = home.ports["mlflow"]
    workers = str(max(1, (os.cpu_count() or 1) // 2))  # each imports all of MLflow: half a gigabyte
    program = [sys.executable, str(Path(__file__).with_name("mlflow_server.py"))]
    command = [*program, "server", "--host", LOOPBACK, "--port", str(port), "--workers", workers]
    command += ["--artifacts-destination", "s3://mlflow", "--app-name", "basic-auth"]
    # Its default, 5 s, ends workers that are still importing on a machine that is busy, again and again.
    command += ["--uvicorn-opts", "--timeout-worker-healthcheck 120"]
    environment = _environment() | store.key(home, "mlflow") | databases.password(home, "mlflow")
    environment |= _door(home, "mlflow") | {
        # Who may call it is the door's to say, which knows a proxy's names too.
        "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": " ".join(home.addresses.get("mlflow", [])).replace(" ", ","),
        "MLFLOW_BACKEND_STORE_URI": databases.url(home, "mlflow", "psycopg2"),
        "MLFLOW_S3_ENDPOINT_URL": home.url("s3"),
        "MLFLOW_AUTH_CONFIG_PATH": str(home.private / "mlflow-auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": home.secrets["MLFLOW_ADMIN_PASSWORD"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": home.secrets["MLFLOW_FORM_KEY"],
    }
    health = f"{home.url('mlflow')}/health"
    return Server("mlflow", command, environment, lambda _: _answers(health), [port], needs=("postgres", "s3"))


def prepare_mlflow(home: Home) -> None:
    """Who may do what: with an account one may look at everything, and change what one has made or was let into."""
    settings = {
        "default_permission": "READ",
        "database_uri": databases.url(home, "mlflow_auth", "psycopg2"),
        "admin_username": "admin",
        # Else every request costs a hash that is slow on purpose; a password that was changed counts after as long.
        "auth_cache_ttl_seconds": "60",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    lines = ["[mlflow]", *(f"{name} = {value}" for name, value in settings.items())]
    write_private(home.private / "mlflow-auth.ini", "\n".join(lines) + "\n")
    environment = _environment() | databases.password(home, "mlflow_auth")
    environment |= {name: home.secrets[name] for name in ("MLFLOW_ADMIN_PASSWORD", "MLFLOW_LINE_PASSWORD")}
    environment["AUTH_DATABASE"] = databases.url(home, "mlflow_auth", "psycopg2")
    _once(home, "mlflow-accounts", [sys.executable, str(Path(__file__).with_name("accounts.py"))], environment)


def prefect(home: Home) -> Server:
    port = home.ports["prefect"]
    command = [sys.executable, "-m", "uvicorn", "--factory", "flows.processes.guard:prefect", "--lifespan", "on"]
    command += ["--log-level", "error", "--host", LOOPBACK, "--port", str(port)]
    environment = _environment() | databases.password(home, "prefect") | _door(home, "prefect")
    environment |= {
        "PREFECT_HOME": str(home.folder / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": databases.url(home, "prefect", "asyncpg"),
        "PREFECT_SERVER_API_AUTH_STRING": _prefect_account(home),
        # In memory, its default, a server that is started again would end the runs that are under way.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # Its own services ask it, too.
        "PREFECT_API_AUTH_STRING": _prefect_account(home),
        # Its pages ask there, so where a proxy shows them it is the proxy's address.
        "PREFECT_SERVER_UI_API_URL": f"{next(iter(home.addresses.get('prefect', [])), home.url('prefect'))}/api",
    }
    asked = f"{home.url('prefect')}/api/admin/version"
    answers = partial(_answers, asked, _prefect_account(home))
    return Server("prefect", command, environment, lambda _: answers(), [port], needs=("postgres",))


def _door(home: Home, name: str) -> dict[str, str]:
    """What the door before a server's pages has to know (`flows.processes.guard`)."""
    code = str(Path(__file__).resolve().parents[2])
    return {
        "CONVOY_GUARDED_PORT": str(home.ports[name]),
        "CONVOY_GUARDED_ADDRESSES": " ".join(home.addresses.get(name, [])),
        "PYTHONPATH": os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH", "")))),
    }


def prefect_worker(home: Home) -> Server:
    port = home.ports["prefect-worker"]
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", "2"]
    command += ["--install-policy", "never", "--no-create-pool-if-not-found", "--with-healthcheck"]
    own = {"PREFECT_WORKER_WEBSERVER_HOST": LOOPBACK, "PREFECT_WORKER_WEBSERVER_PORT": str(port)}
    environment = line_environment(home) | own
    health = f"{home.url('prefect-worker')}/health"
    return Server(
        "prefect-worker",
        command,
        environment,
        lambda _: _answers(health),
        [port],
        folder=home.project,
        needs=("prefect", "mlflow", "ray-head", *NODES),
        orphans_go_on=True,  # lines
    )


def share_data(home: Home) -> None:
    """Make the store the project's default DVC remote, where none was chosen; the key stays in the home."""
    if not (home.project / ".dvc").is_dir():
        return
    from dvc.config import Config

    config = Config(str(home.project / ".dvc"))
    with config.edit("local") as local:
        if local.get("core", {}).get("remote", REMOTE) != REMOTE:
            return
        local.setdefault("core", {})["remote"] = REMOTE
        local.setdefault("remote", {})[REMOTE] = {
            "url": "s3://dvc",
            "endpointurl": home.url("s3"),
            "region": store.REGION,
            "credentialpath": str(home.private / "dvc-credentials"),
            "profile": "dvc",
        }


def deploy(home: Home) -> None:
    """Tell Prefect what the worker runs and when; again at every `up`, so that a changed schedule is taken over."""
    _once(home, "deploy", [sys.executable, "-m", "flows.cli", "schedule", "--register"], line_environment(home))


def ray_head(home: Home) -> Server:
    """The cluster's memory, and the node beside which drivers run: it has no CPUs for work."""
    port = home.ports["ray"]
    own = ["--head", "--port", str(port), "--num-cpus", "0", "--include-dashboard", "false"]
    if (folder := _ray_folder(home)) is not None:
        own += ["--temp-dir", str(folder)]
    return _ray(home, "ray-head", own, [port])


def prepare_ray(home: Home) -> None:
    """An empty folder for the cluster, also where a killed one has left its own.

    Sockets' paths must be short, so it is not in the home: its name is drawn, and noted there.
    """
    tidy_ray(home)
    write_private(home.private / RAY_FOLDER, tempfile.mkdtemp(prefix="convoy-ray-"))


def tidy_ray(home: Home) -> None:
    """Remove the cluster's sockets and inner logs."""
    if (folder := _ray_folder(home)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        (home.private / RAY_FOLDER).unlink()


def ray_node(home: Home, name: str) -> Server:
    own = ["--address", _ray_address(home), "--num-cpus", str(NODE_CPUS)]
    return _ray(home, name, own, [], needs=("ray-head",))


KINDS = {
    "postgres": Kind(postgres, databases.prepare, databases.make),
    "s3": Kind(s3, store.prepare, store.make),
    "mlflow": Kind(mlflow, prepare_mlflow),
    "prefect": Kind(prefect, afterwards=deploy),
    "ray-head": Kind(ray_head, prepare_ray, tidy=tidy_ray),
    **{name: Kind(partial(ray_node, name=name)) for name in NODES},
    "prefect-worker": Kind(prefect_worker, share_data),
}


def variables(home: Home) -> dict[str, str]:
    """What a run has to have in its environment to use these servers."""
    return {
        "MLFLOW_TRACKING_URI": home.url("mlflow"),
        "MLFLOW_TRACKING_USERNAME": "line",
        "MLFLOW_TRACKING_PASSWORD": home.secrets["MLFLOW_LINE_PASSWORD"],
        "PREFECT_API_URL": f"{home.url('prefect')}/api",
        "PREFECT_API_AUTH_STRING": _prefect_account(home),
        "RAY_ADDRESS": _ray_address(home),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": home.secrets["RAY_AUTH_TOKEN"],
        "CONVOY_MLFLOW_UI": home.url("mlflow"),
        **(RAY_STAYS if home.ray_address == LOOPBACK else {}),
    }


def line_environment(home: Home) -> dict[str, str]:
    """What a process has that runs lines of the project."""
    own = {"CONVOY_ROOT": str(home.project), "PREFECT_HOME": str(home.project / ".convoy" / "prefect")}
    return _environment() | variables(home) | own


def _ray(home: Home, name: str, own: list[str], ports: list[int], needs: tuple[str, ...] = ()) -> Server:
    alone = home.ray_address == LOOPBACK
    program = [str(Path(__file__).with_name("ray_node.py"))] if alone else ["-m", "ray.scripts.scripts"]
    command = [sys.executable, *program, "start", "--block", "--node-ip-address", home.ray_address, *own]
    command += ["--object-store-memory", str(OBJECT_STORE), "--disable-usage-stats"]
    environment = _environment() | {name: variables(home)[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    environment |= RAY_STAYS if alone else {}
    # Ray gives a node 30 s to start, which a busy machine overruns, and has no setting for it.
    return Server(name, command, environment, partial(_ray_answers, home), ports, needs=needs, tries=3)


def _once(home: Home, name: str, command: list[str], environment: dict[str, str]) -> None:
    """A program that ends; ServersError with its log where it fails."""
    log = home.log(name)
    with log.open("ab") as output:
        done = subprocess.run(command, env=environment, cwd=home.project, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
        raise ServersError("\n".join([f"{name} failed; its log is {log}:", *words]))


def _ray_folder(home: Home) -> Path | None:
    """For Ray's sockets and logs; None where none was made."""
    note = home.private / RAY_FOLDER
    return Path(note.read_text(encoding="utf-8")) if note.is_file() else None


def _ray_address(home: Home) -> str:
    host = f"[{home.ray_address}]" if ":" in home.ray_address else home.ray_address
    return f"{host}:{home.ports['ray']}"


def _ray_answers(home: Home, process: psutil.Process) -> bool:
    """Whether the head answers, and knows this very node as a living one: by the port on which it listens."""
    asked = (
        "import logging, ray\n"
        "ray.init(log_to_driver=False, logging_level=logging.CRITICAL)\n"
        "print('ports', *(node['NodeManagerPort'] for node in ray.nodes() if node['Alive']))"
    )
    try:
        family = process.children(recursive=True)
        own = {each.laddr.port for one in family for each in one.net_connections() if each.status == psutil.CONN_LISTEN}
        done = subprocess.run(
            [sys.executable, "-c", asked],
            env=line_environment(home),
            cwd=home.folder,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    except (psutil.Error, subprocess.TimeoutExpired):
        return False
    said = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("ports ")]  # Ray has more to say
    return done.returncode == 0 and bool(own & {int(port) for port in (said or [[]])[-1]})


def _prefect_account(home: Home) -> str:
    return f"convoy:{home.secrets['PREFECT_PASSWORD']}"


def _answers(address: str, account: str | None = None) -> bool:
    request = urllib.request.Request(address)  # noqa: S310 — our own loopback addresses
    if account:
        request.add_header("Authorization", f"Basic {base64.b64encode(account.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return True
    except (urllib.error.URLError, TimeoutError, OSError):
        return False


def _environment() -> dict[str, str]:
    """This process's environment without other servers' settings, and with telemetry switched off."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    prepare_environment(environment)
    # Programs that engines start by name are those of this environment.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    return environment | {"PYTHONUNBUFFERED": "1"}
