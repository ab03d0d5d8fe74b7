"""What a shell offers after Tab where a command wants more than an option's name. Quick: no engine is imported."""

from __future__ import annotations

from components.config import ConfigurationError
from components.config import recipes as recipe_names
from flows.base.project import find


def recipes(incomplete: str) -> list[str]:
    """The recipes of the project that the shell is in."""
    try:
        known = ["default", *recipe_names(find().root)]
    except ConfigurationError:
        return []
    return [name for name in known if name.startswith(incomplete)]


def aliases(incomplete: str) -> list[str]:
    """Where a version can be promoted to."""
    return [name for name in ("staging", "production") if name.startswith(incomplete)]
