"""MLflow's room: runs, the model registry, gates and decisions. Nobody else imports MLflow.

MLflow reads its switches when it is imported, so they are set here, before any module of this room is.
"""

import os

os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"  # nothing here is a pickle: refuse to run one
for _switch, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # one pair of lines a finished run; `run_link` has the address
    # A dead server must be an error in seconds; MLflow's own defaults keep trying for several minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}.items():
    os.environ.setdefault(_switch, _value)
