"""One small page that links to all others: the engines' own pages, and the folders that are pages themselves.

Great Expectations' data docs and the data sets' cards are files; they are served from where they lie, nothing else is.
"""

from __future__ import annotations

import html
import http.server
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from flows.project import LOOPBACK, Project

ADDRESSES = "/addresses.json"  # whose pages these are, and where they answer
CARDS, DOCS = "cards", "validation"  # first part of the address of what is served from files
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1f2933}"
    "h1{font-size:1.6rem;margin-bottom:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{color:#52606d;margin:.2rem 0 1rem}"
    "ul{list-style:none;padding:0;margin:0}li{border:1px solid #d9e2ec;border-radius:8px;margin:.5rem 0}"
    "a{display:block;padding:.7rem 1rem;text-decoration:none;color:inherit}a:hover{background:#f0f4f8}"
    "b{color:#0b69a3}small{display:block;color:#52606d}"
)

Link = tuple[str, str, str]  # address, what it is called, what is there


def page(project: Project, engines: Mapping[str, str], experiments: Mapping[str, str]) -> str:
    """The page, HTML. `engines` says where each engine's own page answers, `experiments` which one has what address
    below MLflow's; the rest is what lies in the project now.
    """
    described = {
        "MLflow": "experiments, runs, curves, reports, registered models",
        "Prefect": "flow runs, their steps and artifacts, schedules, approvals",
        "Evidently": "drift: the history of each model's comparisons",
    }
    parts = [_section("", [(address, name, described[name]) for name, address in engines.items()])]
    if experiments:
        # One by one: MLflow's own list opens them as those of chats.
        below = f"{engines['MLflow']}/"
        models = [(f"{below}{address}", name, "its lines, step by step") for name, address in experiments.items()]
        parts.append(_section("Models: one experiment each", models))
    docs, cards = _docs(project), _cards(project)
    if docs:
        parts.append(_section("Great Expectations: is the data valid?", docs))
    if cards:
        parts.append(_section("Data sets in pictures", cards))
    if not docs:
        parts.append("<p>No data set has been validated yet: <code>convoy run</code> does it.</p>")
    title = html.escape(project.root.name)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Convoy · {title}</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>'
        f"<h1>Convoy</h1><p>{title}</p>{''.join(parts)}</body></html>"
    )


def asked(project: Project, address: str) -> dict[str, str]:
    """Where the pages of `project` answer, said by its index page at `address`; empty where that is none of its own."""
    try:
        with urllib.request.urlopen(f"{address}{ADDRESSES}", timeout=5) as answer:  # noqa: S310 — the loopback
            told = json.loads(answer.read())
    except (OSError, ValueError):
        return {}
    return {"index": address, **told["engines"]} if told["project"] == str(project.root) else {}


@contextmanager
def served(
    project: Project, port: int, engines: Mapping[str, str], experiments: Callable[[], Mapping[str, str]]
) -> Iterator[str]:
    """Answer on the loopback until the block ends; the address. OSError where the port is taken.

    `experiments` is asked at every visit, since lines go on meanwhile.
    """

    class Handler(_Handler):
        root = project
        links = engines
        models = staticmethod(experiments)

    server = http.server.ThreadingHTTPServer((LOOPBACK, port), Handler)
    thread = threading.Thread(target=server.serve_forever, name="index", daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """The page at `/`; below it files of two kinds of folders, and none outside of them."""

    root: Project
    links: Mapping[str, str]
    models: Callable[[], Mapping[str, str]]

    def do_GET(self) -> None:
        asked = urlsplit(self.path).path
        if asked == "/":
            self._say("text/html", page(self.root, self.links, self.models()))
        elif asked == ADDRESSES:
            self._say("application/json", json.dumps({"project": str(self.root.root), "engines": dict(self.links)}))
        else:
            super().do_GET()

    def _say(self, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def translate_path(self, path: str) -> str:
        """The file behind an address; one that is not there for whatever lies outside."""
        kind, _, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        if kind == DOCS:
            name, _, rest = rest.partition("/")
            folder = _docs_folder(self.root, name) if name in _validated(self.root) else None
        else:
            folder = _cards_folder(self.root) if kind == CARDS else None
        if folder is not None:
            found = (folder / rest).resolve()
            if found.is_relative_to(folder.resolve()):
                return str(found)
        return str(self.root.state / "no-such-page")

    def list_directory(self, path: object) -> None:
        """Folders without a page of their own are not listed."""
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the terminal belongs to the command."""


def _section(title: str, links: list[Link]) -> str:
    heading = f"<h2>{html.escape(title)}</h2>" if title else ""
    items = "".join(
        f'<li><a href="{html.escape(address, quote=True)}"><b>{html.escape(name)}</b>'
        f"<small>{html.escape(what)}</small></a></li>"
        for address, name, what in links
    )
    return f"{heading}<ul>{items}</ul>"


def _docs(project: Project) -> list[Link]:
    what = "expectations, and the rows that break them"
    return [(f"/{DOCS}/{quote(name)}/index.html", name, what) for name in _validated(project)]


def _validated(project: Project) -> list[str]:
    return sorted(page.parts[-3] for page in (project.root / "data" / "validation").glob("*/docs/index.html"))


def _cards(project: Project) -> list[Link]:
    names = sorted(path.stem for path in _cards_folder(project).glob("*.html"))
    return [(f"/{CARDS}/{quote(name)}.html", name, "classes, splits, sizes, samples, findings") for name in names]


def _docs_folder(project: Project, name: str) -> Path:
    return project.root / "data" / "validation" / name / "docs"


def _cards_folder(project: Project) -> Path:
    return project.state / "cards"
