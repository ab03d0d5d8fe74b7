"""`docs/models.md` lists what the registry has, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from components.config import TransferConfig
from components.models import registry

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table whose first column has that heading: first cell → the others, without back-quotes."""
    table = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_family_is_there_with_the_arguments_of_its_own() -> None:
    shared = registry.arguments("densenet").keys() - {"width", "blocks", "stride"}
    documented = {family: set(re.findall(r"`(\w+)`", row[0])) for family, row in rows("family").items()}
    families = [name for name in registry.names() if registry.home(name).startswith("components.models.")]
    own = {
        name: set(registry.arguments(name))
        - (shared if name not in ("detector", "idcnn", "textcnn", "unet") else set())
        for name in families
    }
    assert documented == own


def test_every_shared_argument_is_there_with_its_default() -> None:
    known = registry.arguments("densenet")
    documented = {name: row[0].strip("`") for name, row in rows("argument").items()}
    own = {"width", "blocks", "stride"}
    assert documented == {name: str(default) for name, (_, default) in known.items() if name not in own}
    for name in ("convnext", "mobilenet", "residual"):
        assert documented.keys() <= registry.arguments(name).keys()


def test_every_short_name_is_there() -> None:
    assert {name: row[0].strip("`") for name, row in rows("short name").items()} == registry.ALIASES


def test_every_key_of_transfer_is_there_with_its_default() -> None:
    documented = {name: row[0].strip("`") for name, row in rows("key").items()}
    assert documented.keys() == TransferConfig.model_fields.keys()
    for name, text in documented.items():
        default = TransferConfig.model_fields[name].default
        assert text == default if isinstance(default, str) else float(text) == default
