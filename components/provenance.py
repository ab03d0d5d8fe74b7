"""Where a result comes from: the code it was made by, the libraries that ran, the commit.

A step is done again when one of these changes. Code is compared by meaning: a comment, a docstring or a blank line
changes nothing. Of another package that adds members (`components.extensions`) those modules count that they import.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterable
from email import message_from_string
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name

from components.extensions import place as place_of
from components.members import Member
from components.parsed import PACKAGES, Parsed, parsed

CODE = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"
SHIPPED = Path(__file__).with_name(LOCK)
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^;\s]+)\s*(;\s*(?P<marker>[^#]+?))?\s*(#.*)?$")


def code_digest(modules: Iterable[str], used: Iterable[Member] = ()) -> str:
    """SHA-256 over the named modules and all of this project's modules that they import, directly or not.

    Modules that are named in full in a string count as well. Of a registry's members those count that are `used`, and
    only where the registry is reached.
    """
    total = hashlib.sha256()
    for module, digest in code_parts(modules, used).items():
        total.update(f"{module}\0{digest}\n".encode())
    return total.hexdigest()


def code_parts(modules: Iterable[str], used: Iterable[Member] = ()) -> dict[str, str]:
    """Module → SHA-256 of what it means, for all that `code_digest` is made of, in order of name."""
    return {module: _parsed(module).meaning for module in sorted(_closure(frozenset(modules), frozenset(used)))}


def libraries(root: Path) -> dict[str, str]:
    """Locked library → the version that is installed, which is what runs; `none` where it is not.

    By content: comments, order and line ends of the lock do not count.
    """
    text = lock(root).read_text(encoding="utf-8")
    there = installed()
    return {name: there.get(name, "none") for name in sorted(pins(text))}


def lock(root: Path) -> Path:
    """The file with the locked libraries: the project's own, where it has one, or what this release brings along."""
    own = root / LOCK
    return own if own.is_file() else SHIPPED


@cache
def installed() -> dict[str, str]:
    """Canonical name → version of everything that this interpreter finds."""
    found = {}
    for each in distributions():
        told = each.read_text("METADATA") or each.read_text("PKG-INFO") or ""
        about = message_from_string(told.partition("\n\n")[0])  # without the description, which is far longer
        if about["Name"]:
            found[str(canonicalize_name(about["Name"]))] = str(about["Version"])
    return found


def pins(text: str) -> dict[str, str]:
    """Canonical name → version, of every `NAME==VERSION` of a lock that is meant for this machine."""
    found = {}
    for line in text.splitlines():
        pin = _PIN.match(line.strip())
        if pin and _meant(pin["marker"]):
            found[str(canonicalize_name(pin["name"]))] = pin["version"]
    return found


def _meant(marker: str | None) -> bool:
    if not marker:
        return True
    try:
        return Marker(marker).evaluate()
    except InvalidMarker:
        return True  # looked at as if it were for all


def git_commit(root: Path) -> str:
    """The checked-out commit, with `+changes` where tracked files differ from it; `unknown` outside a repository."""
    commit = git(root, "rev-parse", "HEAD")
    if commit is None:
        return "unknown"
    changed = git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit.strip()}+changes" if changed and changed.strip() else commit.strip()


def git(root: Path, *arguments: str, seconds: float = 60.0) -> str | None:
    """What git prints in the project's folder; None without git, outside of a repository, or where it fails.

    git refuses a repository that another user owns (a container's, a colleague's): here that of the project itself is
    meant, whose code this user runs already; one further above stays refused.
    """
    command = ["git", "-c", f"safe.directory={root.resolve()}", *arguments]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=seconds, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # the data and the code have digests of their own
    return done.stdout


def _closure(modules: frozenset[str], used: frozenset[Member] = frozenset()) -> set[str]:
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(_imports(module))
            waiting.extend(member.module for member in used if member.registry.module == module)
    return found


@cache
def _path(module: str) -> Path | None:
    """The file of a module that counts; found by its place, since importing it would import the engines."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return place_of(module)
    place = CODE.joinpath(*parts)
    for candidate in (place.with_suffix(".py"), place / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _parsed(module: str) -> Parsed:
    path = _path(module)
    if path is None:
        raise ModuleNotFoundError(f"{module}: expected a module of this project, or of a package that adds to it")
    return parsed(module, path)


@cache
def _imports(module: str) -> frozenset[str]:
    """Modules that count and that `module` imports or names in a string, and the packages that run before it."""
    parts = module.split(".")
    before = {".".join(parts[:end]) for end in range(1, len(parts))}
    return frozenset(name for name in {*before, *_parsed(module).names} if _path(name) is not None and name != module)
