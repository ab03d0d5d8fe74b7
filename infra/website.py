"""Builds the documentation as a site, `.site/html`: `make docs`, which needs `pip install 'convoy[docs]'` (Zensical).

The pages are those that are read in the repository. A link from one to a file that is no page leads to a copy of that
file, so that no link of the site is dead, wherever it lies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/*.md", "docs/data/*.md", "docs/reference/*.md", "infra/*.md", "benchmarks/*.md")
STYLE = "infra/website.css"
PICTURES = {".png", ".svg", ".jpg"}
FENCED = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash"}


def pages(root: Path = ROOT) -> list[Path]:
    """Every page of the site as it lies in the repository."""
    return sorted(page for place in PAGES for page in root.glob(place))


def lay_out(folder: Path, root: Path = ROOT) -> None:
    """Copies all pages and what they show into an empty folder, in the places that they have to each other."""
    known, shown = set(pages(root)), set()

    def linked(page: Path) -> Callable[[re.Match[str]], str]:
        def follow(link: re.Match[str]) -> str:
            place, mark, anchor = link[1].partition("#")
            target = (page.parent / place).resolve()
            if re.match(r"[a-z]+:", link[1]) or not place or target in known:
                return link[0]
            shown.add(target)
            copy = _copied(target, root)
            return f"]({os.path.relpath(copy, page.relative_to(root).parent)}{mark}{anchor})"

        return follow

    for page in sorted(known):
        parts = FENCED.split(page.read_text(encoding="utf-8"))
        text = "".join(part if FENCED.match(part) else LINK.sub(linked(page), part) for part in parts)
        _write(folder / page.relative_to(root), text)
    _write(folder / STYLE, (root / STYLE).read_text(encoding="utf-8"))
    for target in sorted(shown):
        copy = folder / _copied(target, root)
        if target.suffix in PICTURES:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(target, copy)
        else:
            _write(copy, _told(target, root))


def _copied(target: Path, root: Path) -> Path:
    """Where what is no page lies on the site: a picture where it was, anything else as a page of its own."""
    own = target.relative_to(root)
    if target.suffix in PICTURES:
        return own
    parts = [part.lstrip(".") for part in own.parts]  # hidden folders would be left out
    return Path("source", *parts[:-1], f"{parts[-1]}.md")


def _told(target: Path, root: Path) -> str:
    """A file with its content, or a folder with the names of what is in it; not among what a search finds."""
    own = target.relative_to(root).as_posix()
    heading = f"---\nsearch:\n  exclude: true\n---\n\n# `{own}`\n\n"
    if target.is_dir():
        names = [path.relative_to(target).as_posix() for path in sorted(target.rglob("*")) if path.is_file()]
        return heading + "\n".join(f"- `{name}`" for name in names if "__pycache__" not in name) + "\n"
    content = target.read_text(encoding="utf-8").rstrip()
    return f"{heading}`````{LANGUAGES.get(target.suffix, 'text')}\n{content}\n`````\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> int:
    """Lay the pages out anew and build the site; what is wrong with it ends with another code than 0."""
    home = ROOT / ".site"
    shutil.rmtree(home, ignore_errors=True)
    lay_out(home / "pages")
    shutil.copy(ROOT / "infra" / "zensical.toml", home)
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--clean", "--strict"]
    ended = subprocess.run(command, cwd=home, check=False)
    if ended.returncode == 0:
        serve = "python -m http.server --bind 127.0.0.1 --directory .site/html"
        sys.stdout.write(f"the site is {home / 'html' / 'index.html'}; with its search: {serve}\n")
    return ended.returncode


if __name__ == "__main__":
    raise SystemExit(main())
