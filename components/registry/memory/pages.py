"""MLflow's own pages over a store, as an ASGI application; who may reach it is for others."""

from __future__ import annotations

import os
from typing import Any

from components.environment import prepare_environment


def application(store: str, artifacts: str) -> Any:
    """The server that `mlflow server` starts, for a store's address and that of the folder for new artifacts.

    To be called once in a process: MLflow makes the application as it is imported.
    """
    prepare_environment()
    from mlflow.server import constants

    for name in (constants.BACKEND_STORE_URI_ENV_VAR, constants.REGISTRY_STORE_URI_ENV_VAR):
        os.environ[name] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifacts
    from mlflow.server.fastapi_app import app

    return app


def application_with_accounts() -> Any:
    """The same with MLflow's accounts, in a process that `mlflow server` has made ready."""
    from mlflow.server.auth import create_app

    return create_app()
