"""What every process of the line sets before an engine is imported: nothing phones home, and no model is a pickle.

The one place where the engines' telemetry is switched off. Values that the user has set are kept, except where they
would let a pickle be loaded.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",  # Prefect, Evidently, Great Expectations
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # timm fetches published weights through it
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: else it collects, and leaves a file `.ses` among temporary ones
}

NO_PICKLE = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}

QUIET = {
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow and DVC look for git at import
    "RAY_DEDUP_LOGS": "0",
    # MLflow's server would start eight processes, 2 GB, for jobs that only language models have.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "TQDM_DISABLE": "1",  # Great Expectations' and the exporters' bars would write through the line's own display
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
