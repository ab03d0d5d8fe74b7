"""Makes a virtual environment work wherever its project lies: `python infra/portable.py .venv`, without a network.

Its commands name their interpreter by a whole path, and the editable installation names the folder whose code is run:
after `mv` nothing starts, and in a copy the original's code runs. Here commands look for the interpreter beside
themselves, and the code is looked for beside the environment; so one that was made portable can be moved, copied, and
used from two mounts at once. Only the scripts for `source` have to be written anew in a new place. What was installed
from elsewhere stays so. Needs nothing but the standard library.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

# The first lines of a command as pip writes them: the interpreter, or a shell that starts it where its path is too long
# for the kernel or has a blank in it.
TRAMPOLINE = re.compile(rb"\A#!/bin/sh\n'''exec' (?P<command>.*?) \"\$0\" \"\$@\"\n' '''\n", re.DOTALL)
PLAIN = re.compile(rb"\A#!(?P<command>/[^\n]*?)\n")
BESIDE = '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")/{name}" "$0" "$@"\n\' \'\'\'\n'
MAPPING = re.compile(r"^MAPPING(?P<annotation>[^=]*)= (?P<value>\{.*\})$", re.MULTILINE)  # setuptools' editable finder


def main(arguments: list[str]) -> int:
    """Exit code: 0 when the environment belongs here now; 1, and a sentence, where it cannot be mended."""
    if len(arguments) != 1:
        print("expected one argument, the environment's folder: python infra/moved.py .venv", file=sys.stderr)  # noqa: T201
        return 2
    place = Path(arguments[0]).resolve()
    try:
        changed = mend(place)
    except (OSError, ValueError) as error:
        print(f"{place}: could not be made to work here: {error}; `make clean setup` makes it anew", file=sys.stderr)  # noqa: T201
        return 1
    if changed:
        print(f"{place}: {changed} files named a place; they work wherever the project lies now")  # noqa: T201
    return 0


def mend(place: Path) -> int:
    """Take the place out of every file of the environment that names it, or the one before; how many were changed."""
    old = made_for(place)
    if old is None:
        return 0
    changed = 0
    for file in _commands(place):
        changed += _rewritten(file, _beside(file.read_bytes(), (old / "bin", place / "bin")))
    for finder in place.glob("lib/python3.*/site-packages/__editable__*_finder.py"):
        changed += _rewritten(finder, _above(finder.read_text("utf-8"), (old.parent, place.parent)).encode())
    for paths in place.glob("lib/python3.*/site-packages/__editable__*.pth"):
        changed += _rewritten(paths, _relative(paths, (old.parent, place.parent), place).encode())
    if old != place:
        # Last, and by Python itself, which knows how each shell wants a path written: where this is interrupted, the
        # environment still says that it is another's, and the next time all of it is done again.
        builder = venv.EnvBuilder(symlinks=True)
        builder.setup_scripts(builder.ensure_directories(str(place)))
        changed += 4  # activate for sh, csh, fish and PowerShell
    return changed


def made_for(place: Path) -> Path | None:
    """The folder that the environment believes to be in, as its script for sh has it; None where there is none."""
    script = place / "bin" / "activate"
    if not script.is_file():
        return None
    for line in script.read_text("utf-8").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name.removeprefix("export ") == "VIRTUAL_ENV" and (words := shlex.split(value)):
            return Path(words[0])
    raise ValueError(f"{script}: expected a line VIRTUAL_ENV=…, found none")


def _commands(place: Path) -> Iterator[Path]:
    for file in sorted((place / "bin").iterdir()):
        if file.is_file() and not file.is_symlink() and not file.name.lower().startswith("activate"):
            with file.open("rb") as opened:
                if opened.read(2) == b"#!":
                    yield file


def _beside(content: bytes, places: tuple[Path, ...]) -> bytes:
    """A command that takes the interpreter beside it; as it is where it names one of elsewhere."""
    first = TRAMPOLINE.match(content) or PLAIN.match(content)
    if first is None:
        return content
    said = os.fsdecode(first["command"])
    named = Path(shlex.split(said)[0] if said[:1] in "\"'" else said)
    if named.parent not in places:
        return content
    return BESIDE.format(name=named.name).encode() + content[first.end() :]


def _above(finder: str, roots: tuple[Path, ...]) -> str:
    """The editable finder with the packages of the project that the environment lies in; those of elsewhere stay."""
    found = MAPPING.search(finder)
    if found is None or "__file__" in found["value"]:  # the latter is our own
        return finder
    entries = []
    for name, path in ast.literal_eval(found["value"]).items():
        root = next((root for root in roots if Path(path).is_relative_to(root)), None)
        below = None if root is None else Path(path).relative_to(root)
        # site-packages, python3.11, lib, the environment, the project
        where = repr(path) if below is None else f"str(Path(__file__).resolve().parents[4] / {str(below)!r})"
        entries.append(f"{name!r}: {where}")
    mapping = f"MAPPING{found['annotation']}= {{{', '.join(entries)}}}"
    return finder[: found.start()] + mapping + finder[found.end() :]


def _relative(paths: Path, roots: tuple[Path, ...], place: Path) -> str:
    """A list of folders for Python, which takes those that are no whole paths from where the list lies."""
    lines = paths.read_text("utf-8").split("\n")
    up = Path(os.path.relpath(place.parent, paths.parent))
    for number, line in enumerate(lines):
        root = next((root for root in roots if line.startswith("/") and Path(line).is_relative_to(root)), None)
        if root is not None:
            lines[number] = str(up / Path(line).relative_to(root))
    return "\n".join(lines)


def _rewritten(file: Path, content: bytes) -> bool:
    """Whether the file had to be changed; it is in one move, with the rights it had."""
    if file.read_bytes() == content:
        return False
    mode = file.stat().st_mode
    temporary = file.with_name(f".{file.name}.moved")
    temporary.write_bytes(content)
    temporary.chmod(mode)
    temporary.replace(file)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
