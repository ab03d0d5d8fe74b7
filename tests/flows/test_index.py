"""The page before all others: what it links to, what it serves, and what it keeps to itself."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.base.project import Project
from flows.pages import index

ENGINES = {"MLflow": "http://127.0.0.1:1", "Prefect": "http://127.0.0.1:2", "Evidently": "http://127.0.0.1:3"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    docs = tmp_path / ".convoy" / "data" / "validated" / "digits & co" / "docs"
    (docs / "static").mkdir(parents=True)
    (docs / "index.html").write_text("<html>data docs")
    (docs / "static" / "style.css").write_text("body {}")
    (docs.parent / "validation.json").write_text("{}")
    (tmp_path / "params.yaml").write_text("secret")
    cards = tmp_path / ".convoy" / "cards"
    cards.mkdir(parents=True)
    (cards / "digits.html").write_text("<html>a card")
    return Project(tmp_path)


@pytest.fixture
def address(project: Project) -> Iterator[str]:
    with index.served(project, 0, ENGINES, lambda: {"digits": "#/experiments/1/runs"}) as found:
        yield found


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 — loopback
        return str(answer.read().decode())


def test_it_links_to_the_engines_and_to_what_lies_in_the_project(address: str) -> None:
    said = get(address)
    assert 'href="http://127.0.0.1:1"' in said and 'href="http://127.0.0.1:1/#/experiments/1/runs"' in said
    assert 'href="http://127.0.0.1:2"' in said and 'href="http://127.0.0.1:3"' in said
    assert "<b>digits &amp; co</b>" in said
    assert "data docs" in get(f"{address}/validation/digits%20%26%20co/index.html")
    assert get(f"{address}/validation/digits%20%26%20co/static/style.css") == "body {}"
    assert "a card" in get(f"{address}/cards/digits.html")


@pytest.mark.parametrize(
    "path",
    [
        "/params.yaml",
        "/validation/digits%20%26%20co/../validation.json",
        "/validation/digits%20%26%20co/%2e%2e/validation.json",
        "/validation/../../params.yaml",
        "/validation/digits%20%26%20co/static/",  # no listing
        "/cards/",
        "/cards/%2e%2e/%2e%2e/params.yaml",
        "/cards//etc/passwd",
    ],
)
def test_nothing_else_is_served(address: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{address}{path}")


def test_other_commands_learn_from_it_whose_pages_these_are(project: Project, address: str, tmp_path: Path) -> None:
    assert index.asked(project, address) == {"index": address, **ENGINES}
    assert index.asked(Project(tmp_path / "another"), address) == {}
    assert index.asked(project, "http://127.0.0.1:9") == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8888"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
@pytest.mark.parametrize("path", ["/", index.ADDRESSES, "/cards/digits.html"])
def test_pages_of_others_read_nothing(address: str, path: str, headers: dict[str, str]) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
        request = urllib.request.Request(f"{address}{path}", headers=headers, method=method)  # noqa: S310 — loopback
        with pytest.raises(urllib.error.HTTPError, match=r"403|421"):
            urllib.request.urlopen(request, timeout=10)  # noqa: S310


@pytest.mark.parametrize("path", ["/", "/cards/digits.html", "/validation/digits%20%26%20co/index.html"])
def test_nothing_of_it_may_be_framed(address: str, path: str) -> None:
    with urllib.request.urlopen(f"{address}{path}", timeout=10) as answer:  # noqa: S310 — loopback
        assert answer.headers["X-Frame-Options"] == "DENY"
