"""What every process of the pipeline sets before an engine is imported: nothing phones home, no model is a pickle, and
what an engine writes for itself lies in the project.

The one place where the engines' telemetry is switched off. Values that the user has set are kept, except where they
would let a pickle be loaded.
"""

from __future__ import annotations

import os
import pwd
import secrets
import sys
from collections.abc import MutableMapping
from pathlib import Path

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",  # Prefect, Evidently, Great Expectations
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # timm fetches published weights through it
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime tells Microsoft of every session, and keeps what it could not tell
}

# Where there is this module, `import openvino` reports itself to Google Analytics; there is no variable against it.
OPENVINO_TELEMETRY = "openvino_telemetry"

NO_PICKLE = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}

QUIET = {
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow and DVC look for git at import
    "RAY_DEDUP_LOGS": "0",
    # MLflow's server would start eight processes, 2 GB, for jobs that only language models have.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "TQDM_DISABLE": "1",  # Great Expectations' and the exporters' bars would write through the pipeline's own display
}


LOOPBACK = ("127.0.0.1", "localhost", "::1")  # never asked through a proxy, which could not reach it
NO_PROXY = ("no_proxy", "NO_PROXY")  # some programs read the one, some the other


def prepare_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the switches; idempotent, and inherited by every process that is started from here."""
    for name, value in {**TELEMETRY_OFF, **QUIET}.items():
        environment.setdefault(name, value)
    environment.update(NO_PICKLE)
    direct = [part.strip() for name in NO_PROXY for part in environment.get(name, "").split(",") if part.strip()]
    environment.update(dict.fromkeys(NO_PROXY, ",".join(dict.fromkeys([*direct, *LOOPBACK]))))


def switch_off_telemetry() -> None:
    """`prepare_environment` for this process, by the name that says why a stage calls it first."""
    prepare_environment()


def openvino_tells_nobody() -> None:
    """To be called before `import openvino`: without its module for it, OpenVINO has a stand-in that sends nothing."""
    if OPENVINO_TELEMETRY not in sys.modules:
        sys.modules[OPENVINO_TELEMETRY] = None  # type: ignore[assignment]  # Python's word for: not there


def keep_inside(root: Path, environment: MutableMapping[str, str] = os.environ) -> None:
    """Give engines places in the project for what they would write into the user's home, or into everybody's folders.

    Also a name where the user has none, and a home where the user has none that exists (a container's uid): engines
    ask for both before they do anything else. Settings that the user keeps at home are found as before. To be called
    before an engine is imported; idempotent.
    """
    state = root / ".convoy"
    cache = state / "cache"
    places = {
        "DVC_SITE_CACHE_DIR": cache / "dvc",  # by default /var/tmp/dvc, which all users share
        "MPLCONFIGDIR": cache / "matplotlib",
        "TORCH_HOME": cache / "torch",  # weights that torchvision publishes
        "HF_HUB_CACHE": cache / "huggingface",  # and timm's
        "HF_DATASETS_CACHE": cache / "huggingface" / "datasets",
    }
    for name, place in places.items():
        environment.setdefault(name, str(place))
    if environment["DVC_SITE_CACHE_DIR"] == str(places["DVC_SITE_CACHE_DIR"]):
        (places["DVC_SITE_CACHE_DIR"] / "repo").mkdir(parents=True, exist_ok=True)  # DVC would make it for everybody
    if not _has_home(environment):
        home = state / "home" / str(os.getuid())
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment["HOME"] = str(home)
    if not any(environment.get(name) for name in _NAMES) and _known("pw_name") is None:
        environment["USER"] = who(environment)
    if environment.get("RAY_ADDRESS") == "local":
        del environment["RAY_ADDRESS"]  # Ray's word for this machine alone, which is what is meant where none is named
    if not any(environment.get(name) for name in _RAY):
        # Ray on this machine asks for a token, and would leave one in ~/.ray that others can read. This one is in the
        # memory of this process and of those that it starts; the next one has another.
        environment["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if not environment.get("RAY_ADDRESS"):
        # What keeps Ray from asking macOS' firewall keeps it on the loopback here: alone on a machine it needs no more.
        environment.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # Its autoscaler would serve figures on a fixed port, to whatever page asks by a name that points here; that it
        # cannot listen on this one it only notes.
        environment.setdefault("AUTOSCALER_METRIC_PORT", "-1")


def who(environment: MutableMapping[str, str] = os.environ) -> str:
    """The user of this machine, by name; `uid-12345` where the machine has none, as in most containers."""
    named = next((environment[name] for name in _NAMES if environment.get(name)), None)
    return named or _known("pw_name") or f"uid-{os.getuid()}"


def _known(field: str) -> str | None:
    """What the machine's list of users says of this one; None where it does not know the number."""
    try:
        return str(getattr(pwd.getpwuid(os.getuid()), field)) or None
    except KeyError:
        return None


_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # in the order in which Python itself looks
_RAY = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def _has_home(environment: MutableMapping[str, str]) -> bool:
    """Whether there is a folder to call home. `/` is what containers say where there is none."""
    named = environment.get("HOME") or _known("pw_dir") or ""
    usable = os.R_OK | os.X_OK | (os.W_OK if named == "/" else 0)
    return os.path.isdir(named) and os.access(named, usable)  # noqa: PTH112 — Path's raises within what is not ours
