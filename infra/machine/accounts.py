"""Makes MLflow's administrator and the pipeline's own user, or gives them the passwords that the environment holds.

A program of its own, since it imports all of MLflow's server. It goes through MLflow's store of users rather than its
server, so an earlier password need not be known. Also brings the tables of that store up to date.
"""

from __future__ import annotations

import os

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

PASSWORDS = {"admin": "MLFLOW_ADMIN_PASSWORD", "line": "MLFLOW_LINE_PASSWORD"}


def main() -> None:
    """Entry point; the database's address is in AUTH_DATABASE."""
    store = SqlAlchemyStore()
    store.init_db(os.environ["AUTH_DATABASE"])
    for name, variable in PASSWORDS.items():
        value = os.environ[variable]
        if not store.has_user(name):
            store.create_user(name, value, is_admin=name == "admin")
        elif not store.authenticate_user(name, value):
            store.update_user(name, password=value)


if __name__ == "__main__":
    main()
