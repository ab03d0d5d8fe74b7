"""The first page: how things are, and the ways to the engines' own pages and to the folders that are pages themselves.

Great Expectations' data docs and the data sets' cards are files; they are served from where they lie, nothing else is.
"""

from __future__ import annotations

import http.server
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from components.data import places
from flows.base.project import LOOPBACK, Project
from flows.pages import overview_page
from flows.pages.overview import Overview, Part, part
from flows.processes import guard

ADDRESSES = "/addresses.json"  # whose pages these are, and where they answer
NOTICED = 0.1  # seconds within which it notices that it is to end
CARDS, DOCS = "cards", "validation"  # first part of the address of what is served from files

Link = tuple[str, str, str]  # address, what it is called, what is there


def page(
    project: Project,
    engines: Mapping[str, str],
    experiments: Part[Mapping[str, str]],
    state: Part[Overview] | None = None,
) -> str:
    """The page, HTML. `engines` says where each engine's own page answers, `experiments` which one has what address
    below MLflow's, `state` how things are; the rest is what lies in the project now.
    """
    described = {
        "MLflow": "experiments, runs, curves, reports, registered models",
        "Prefect": "flow runs, their steps and artifacts, schedules, approvals",
        "Evidently": "drift: the history of each model's comparisons",
    }
    parts, at = [], time.time()
    if state is not None and state.value is not None:
        parts, at = overview_page.state(state.value, engines), state.value.at
    elif state is not None:
        parts.append(overview_page.broken(state.problem or "nothing was answered"))
    beside = [overview_page.links("Web UIs", [(where, name, described[name]) for name, where in engines.items()])]
    if experiments.problem is not None:
        beside.append(overview_page.broken(experiments.problem))
    elif experiments.value:
        # One by one: MLflow's own list opens them as those of chats.
        below = f"{engines['MLflow']}/"
        models = [(f"{below}{address}", name, "its runs, step by step") for name, address in experiments.value.items()]
        beside.append(overview_page.links("Models: one experiment each", models))
    docs, cards = _docs(project), _cards(project)
    if docs:
        beside.append(overview_page.links("Great Expectations: data validation", docs))
    if cards:
        beside.append(overview_page.links("Data set cards", cards))
    if not docs:
        beside.append("<p>No data set has been validated yet: <code>convoy run</code> does it.</p>")
    return overview_page.document(project.root.name, str(project.root), parts, beside, at)


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
    project: Project,
    port: int,
    engines: Mapping[str, str],
    experiments: Callable[[], Mapping[str, str]],
    state: Callable[[], Overview] | None = None,
) -> Iterator[str]:
    """Answer on the loopback until the block ends; the address. OSError where the port is taken.

    `experiments` and `state` are asked at every visit, since runs go on meanwhile.
    """

    class Handler(_Handler):
        root = project
        links = engines
        models = staticmethod(experiments)
        watch = staticmethod(state) if state is not None else None

    server = http.server.ThreadingHTTPServer((LOOPBACK, port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(NOTICED,), name="index", daemon=True)
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
    watch: Callable[[], Overview] | None
    server: http.server.HTTPServer

    def do_GET(self) -> None:
        asked = urlsplit(self.path).path
        if self._is_refused():
            return
        if asked == "/":
            state = part(self.watch) if self.watch is not None else None
            self._say("text/html", page(self.root, self.links, part(self.models), state))
        elif asked == ADDRESSES:
            self._say("application/json", json.dumps({"project": str(self.root.root), "engines": dict(self.links)}))
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        if not self._is_refused():
            super().do_HEAD()

    def do_POST(self) -> None:
        if not self._is_refused():
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 — as the library looks for them

    def _is_refused(self) -> bool:
        """Whether the request is another page's, or for another name than this server's; it has its answer then."""
        no = guard.refused(self.headers.items(), guard.own_hosts(self.server.server_port))
        if no is not None:
            self.send_error(no[0], explain=no[1])
        return no is not None

    def _say(self, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", overview_page.POLICY)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        for name, value in guard.FRAMES.items():
            self.send_header(name, value)
        super().end_headers()

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


def _docs(project: Project) -> list[Link]:
    what = "expectations, and the rows that break them"
    return [(f"/{DOCS}/{quote(name)}/index.html", name, what) for name in _validated(project)]


def _validated(project: Project) -> list[str]:
    return sorted(page.parts[-3] for page in places.validated(project.root, "*").parent.glob("*/docs/index.html"))


def _cards(project: Project) -> list[Link]:
    names = sorted(path.stem for path in _cards_folder(project).glob("*.html"))
    return [(f"/{CARDS}/{quote(name)}.html", name, "classes, splits, sizes, samples, findings") for name in names]


def _docs_folder(project: Project, name: str) -> Path:
    return places.validated(project.root, name) / "docs"


def _cards_folder(project: Project) -> Path:
    return project.state / "cards"
