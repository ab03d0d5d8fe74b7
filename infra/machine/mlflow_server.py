"""`mlflow server` with accounts, behind the door of `flows.processes.guard`.

By itself MLflow lets in the pages of every other server of this machine, with the account that a browser remembers.
The command knows applications by the name of an entry point: here it is shown that of the door in their place, while
all that it prepares for one with accounts stays as it is.
"""

from __future__ import annotations

from mlflow import server
from mlflow.cli import cli

APPLICATION = "flows.processes.guard:mlflow_with_accounts"


def guarded(name: str) -> str:
    """Where the application of that name is."""
    return APPLICATION


if __name__ == "__main__":
    server._find_app = guarded
    cli()
