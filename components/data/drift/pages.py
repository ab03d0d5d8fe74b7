"""Evidently's own pages over the history of drift, as an ASGI application; who may reach it is for others."""

from __future__ import annotations

from typing import Any

from components.environment import prepare_environment


def application(workspace: str, port: int) -> Any:
    """The server that `evidently ui` starts, for a workspace's folder and the loopback's port."""
    prepare_environment()
    from evidently.ui.service.app import create_app, get_config

    return create_app(get_config(port=port, workspace=workspace))
