"""Packages of somebody's own that add members to the project, made of the example of docs/tasks.md."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components import extensions, members
from components.targets import registry as targets
from components.tasks import registry as tasks
from tests.remembered import forget_code

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "direction"
PAGE = (ROOT / "docs" / "outside.md").read_text(encoding="utf-8")
(PYPROJECT,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
MODULES = {
    "angle": "components/targets/angle.py",
    "direction": "components/tasks/direction.py",
    "answers": "components/registry/answers/angle.py",
    "turned_digits": "components/data/sources/turned_digits.py",
}
INSTEAD = {"from components.targets import angle": "from my_angles import angle"}  # as the page says


def example(folder: Path) -> Path:
    """The package of docs/outside.md, to be installed."""
    package = folder / "my-angles" / "my_angles"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, place in MODULES.items():
        text = (EXAMPLE / place).read_text(encoding="utf-8")
        for before, after in INSTEAD.items():
            text = text.replace(before, after)
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    (package.parent / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    return package.parent


def installed(folder: Path, package: str, points: Mapping[str, Mapping[str, str]]) -> None:
    """What an installer leaves of a package: in `folder`, where Python finds its modules too."""
    about = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        line
        for group, each in points.items()
        for line in (f"[{group}]", *(f"{key} = {at}" for key, at in each.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def points() -> dict[str, dict[str, str]]:
    """The entry points that the page declares."""
    declared: dict[str, dict[str, str]] = tomllib.loads(PYPROJECT)["project"]["entry-points"]
    return declared


@contextmanager
def looked_up_anew() -> Iterator[None]:
    """What a process remembers of installed packages is forgotten, before and after."""
    caches = (*(extensions.of, extensions.place, members.added, tasks.names, tasks.get, targets.get),)

    def forget() -> None:
        forget_code()
        for each in caches:
            each.cache_clear()

    forget()
    try:
        yield
    finally:
        forget()
