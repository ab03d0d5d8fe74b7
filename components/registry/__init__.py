"""MLflow's package: runs, the model registry, gates and decisions. Nobody else imports MLflow.

MLflow reads its switches when it is imported, so they are set here, before any module of this room is.
"""

import os

os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"  # nothing here is a pickle: refuse to run one
for _switch, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # one pair of lines a finished run; `run_link` has the address
    # Waits of 4, 8, 16 … s between them, two minutes in all: a server that is started again is waited for. One that
    # is dead from the start is an error in seconds: `tracking.connect` asks it first.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "6",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}.items():
    os.environ.setdefault(_switch, _value)
