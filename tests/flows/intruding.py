"""What a hostile page tries, in a real browser: to reach servers of this machine, and to read, frame and change them.

It stands at another port of the loopback, at a name of its own, or, after its name was pointed at this machine (DNS
rebinding), at the very port that it attacks, so that the browser takes the server's answers for its own.
"""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.flows.browsing import ARGUMENTS, CHROMIUM, PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

MARK = "of a stranger"  # in all that it writes: nowhere to be found afterwards
HOST = "evil.example"  # its own name, which the browser is told to find on this machine
BLANK = "<!doctype html><title>hostile</title><body></body>"
READS = (
    "/",
    "/addresses.json",
    "/health",
    "/metrics",
    "/api/2.0/mlflow/experiments/search?max_results=9",
    "/api/version",
)
WRITES = {  # path: what would make something there
    "/api/flows/": {"name": MARK},
    "/api/flow_runs/filter": {"flows": {"name": {"any_": [MARK]}}},
    "/api/2.0/mlflow/experiments/create": {"name": MARK},
    "/ajax-api/2.0/mlflow/experiments/create": {"name": f"{MARK} too"},
    "/api/projects": {"name": MARK},
    "/get_or_create_runtime_env": {"job_id": MARK},
    "/api/jobs/": {"entrypoint": MARK},
}
SOCKETS = ("/api/events/in", "/api/events/out", "/")
# Newer Chromium asks before a page of the network reaches this machine; older ones, and other browsers, do not.
LENIENT = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
REFUSED = (401, 403, 421)  # read by a page that has pointed its own name here: whose words they are it may know
SECONDS = 10  # for one request; a port that speaks no HTTP may leave it open

# Tries everything at once on one server and returns what came of it: [way, path, what was read or reached].
TRY = """
async ({base, reads, writes, sockets, seconds}) => {
  const found = [];
  const short = text => String(text).slice(0, 200);
  const limit = () => ({signal: AbortSignal.timeout(1000 * seconds)});
  const asked = async (way, path, options) => {
    try {
      const answer = await fetch(base + path, {...options, ...limit()});
      if (answer.type !== 'opaque') found.push([way, path, answer.status, short(await answer.text())]);
    } catch (error) { }
  };
  const framed = path => new Promise(done => {
    const frame = document.createElement('iframe');
    frame.name = 'f' + Math.random();
    setTimeout(done, 1000 * seconds);
    frame.onload = () => setTimeout(done, 100);
    frame.src = base + path;
    document.body.append(frame);
  });
  const posted = (path, body, enctype) => {
    const frame = document.createElement('iframe'), form = document.createElement('form');
    const name = 'form' + Math.random();
    frame.name = form.target = name;
    Object.assign(form, {method: 'POST', action: base + path, enctype});
    const field = document.createElement('input');
    // As text/plain, `name=value` is the JSON itself.
    [field.name, field.value] = [body.slice(0, -1) + ',"":"', '"}'];
    form.append(field);
    document.body.append(frame, form);
    form.submit();
    return new Promise(done => { frame.onload = done; setTimeout(done, 1000 * seconds); });
  };
  const loaded = (kind, path) => new Promise(done => {
    const element = document.createElement(kind);
    element.onload = () => { found.push([kind, path, 0, 'loaded']); done(); };
    element.onerror = done;
    setTimeout(done, 1000 * seconds);
    element.src = base + path;
    document.body.append(element);
  });
  const connected = path => new Promise(done => {
    let socket;
    try { socket = new WebSocket(base.replace('http', 'ws') + path, ['prefect']); } catch (error) { return done(); }
    setTimeout(() => { socket.close(); done(); }, 1000 * seconds);
    socket.onopen = () => { found.push(['socket', path, 0, 'opened']); socket.close(); done(); };
    socket.onerror = done;
  });
  const tried = [];
  for (const path of reads) {
    tried.push(asked('get', path, {}), asked('get with account', path, {credentials: 'include'}));
    tried.push(framed(path), loaded('script', path), loaded('img', path));
    tried.push(asked('no-cors', path, {mode: 'no-cors'}));
  }
  for (const [path, value] of Object.entries(writes)) {
    const body = JSON.stringify(value), json = {'Content-Type': 'application/json'};
    tried.push(asked('simple', path, {method: 'POST', body}));
    tried.push(asked('preflighted', path, {method: 'POST', body, headers: {...json, 'X-Own': '1'}}));
    tried.push(asked('with account', path, {method: 'POST', body, headers: json, credentials: 'include'}));
    tried.push(asked('no-cors', path, {method: 'POST', body, mode: 'no-cors', credentials: 'include'}));
    tried.push(asked('deleted', path, {method: 'DELETE'}));
    tried.push(posted(path, body, 'text/plain'), posted(path, body, 'application/x-www-form-urlencoded'));
    navigator.sendBeacon(base + path, new Blob([body], {type: 'text/plain'}));
  }
  for (const path of sockets) tried.push(connected(path));
  await Promise.all(tried);
  return found;
}
"""


@dataclass
class Intruder:
    """A hostile site, and a browser in which somebody has it open."""

    context: BrowserContext
    port: int
    reached: list[list[Any]] = field(default_factory=list)  # [from where, server, way, path, status, what was read]

    def attack(self, ports: Sequence[int], writes: dict[str, Any] | None = None) -> None:
        """Try all ways from everywhere on servers at these ports; what succeeds is in `reached`."""
        for port in ports:
            asked = {"reads": READS, "sockets": SOCKETS, "writes": {**WRITES, **(writes or {})}}
            if not speaks_http(port):
                asked = {"reads": READS[:1], "sockets": SOCKETS[-1:], "writes": dict(list(WRITES.items())[:1])}
            beside, elsewhere = f"http://127.0.0.1:{self.port}/", f"http://{HOST}:{self.port}/"
            self._try(beside, f"http://127.0.0.1:{port}", asked)
            self._try(elsewhere, f"http://localhost:{port}", asked)
            self._try(f"http://{HOST}:{port}/hostile", f"http://{HOST}:{port}", asked)

    def _try(self, place: str, base: str, asked: dict[str, Any]) -> None:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE)
        # The name has pointed at the hostile site when its page was fetched; from then on it points here.
        page.route("**/hostile", lambda route: route.fulfill(body=BLANK, content_type="text/html"))
        try:
            page.goto(place)
            told = page.evaluate(TRY, {"base": base, "seconds": SECONDS, **asked})
            told += [["frame", frame.url, 0, "shown"] for frame in page.frames[1:] if frame.url.startswith(base)]
            self.reached += [[place, base, *each] for each in told if each[2] not in REFUSED]
        finally:
            page.close()


def speaks_http(port: int) -> bool:
    """Whether a port answers a browser at all; Ray's own protocol has nothing to say to it."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
            connection.settimeout(2)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


@contextmanager
def intruding() -> Iterator[Intruder]:
    """Chromium, headless, in which a hostile site can be opened by its address and by its own name."""
    from playwright.sync_api import sync_playwright

    with _site() as port, sync_playwright() as engine:
        arguments = [*ARGUMENTS, f"--host-resolver-rules=MAP {HOST} 127.0.0.1", LENIENT]
        chromium = engine.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=PATIENCE)
        try:
            yield Intruder(chromium.new_context(), port)
        finally:
            chromium.close()


@contextmanager
def _site() -> Iterator[int]:
    """The hostile site's own server; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(BLANK.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
