"""A real browser for tests: the system's Chromium, headless, with whatever its console complains of."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 60_000  # milliseconds: the pages are large, and machines that test are busy
# Somebody who has been here before: MLflow greets new visitors with a panel over half of the page.
VISITED = (
    "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');"
    "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');"
)
# Errors of the engines' own pages that say nothing about ours.
HARMLESS = (
    "/ajax-api/2.0/mlflow/users/current",  # MLflow asks whether people log in here; without logins there is no answer
    "/favicon.ico",  # Prefect has none
    "/ico/undefined.svg",  # Prefect's picture of a kind of artifact for which it has none
    "$ is not defined",  # Great Expectations' data docs fetch jQuery from elsewhere; they are read without it
    "ResizeObserver loop",  # a chart that is drawn while the page is laid out
)


@dataclass
class Browser:
    """A page, and what went wrong on pages of this machine."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complained(message.text, message.location.get("url", ""))

    def complained(self, text: str, place: str = "") -> None:
        if is_ours(place) and not any(each in f"{text} {place}" for each in HARMLESS):
            self.errors.append(f"{text} ({place})")

    def picture(self, name: str) -> None:
        """Keep what the page shows as a small PNG in the folder CONVOY_PICTURES, where one is named."""
        folder = os.environ.get("CONVOY_PICTURES")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            content = self.page.screenshot()
            image = Image.open(io.BytesIO(content)).convert("RGB").quantize(128, dither=Image.Dither.NONE)
            image.save(Path(folder) / f"{name}.png", optimize=True)


def is_ours(address: str) -> bool:
    """Whether a page comes from this machine: what others would have sent is not there without a network."""
    return not address or urlsplit(address).hostname in ("127.0.0.1", None)


@contextmanager
def browsing(width: int = 1360, height: int = 850, *, scripts: bool = True) -> Iterator[Browser]:
    """Chromium with one empty page; ends with it. Without `scripts` pages run no JavaScript."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=PATIENCE)
        context = chromium.new_context(viewport={"width": width, "height": height}, java_script_enabled=scripts)
        context.add_init_script(VISITED)
        browser = Browser(context.new_page())
        browser.page.set_default_timeout(PATIENCE)
        browser.page.on("console", browser.heard)
        browser.page.on("pageerror", lambda error: browser.complained(str(error)))
        try:
            yield browser
        finally:
            chromium.close()
