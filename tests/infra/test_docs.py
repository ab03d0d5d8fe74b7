"""Every link of the documentation leads somewhere: to a file that there is, and to a heading that it has."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for place in ("*", "docs/**/*", "infra/*", "benchmarks/*") for page in ROOT.glob(f"{place}.md"))
INDEX = ROOT / "docs" / "README.md"


@cache
def anchors(page: Path) -> frozenset[str]:
    """As GitHub makes them of headings: lower case, blanks as hyphens, no punctuation; equal ones are numbered."""
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.+)$", without_code(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.append(f"{plain}-{found.count(plain)}" if plain in found else plain)
    return frozenset(found)


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    every = re.findall(r"\]\(([^)\s]+)\)", without_code(page))
    return [link for link in every if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    wrong = []
    for link in links(page):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists():
            wrong.append(f"{link}: there is no such file")
        elif anchor and anchor not in anchors(target):
            wrong.append(f"{link}: {target.name} has no such heading")
    assert not wrong


def test_each_page_is_reached_from_the_index() -> None:
    reached = {(INDEX.parent / link.partition("#")[0]).resolve() for link in links(INDEX)}
    assert {page for page in PAGES if page.is_relative_to(INDEX.parent)} - {INDEX} <= reached


def test_no_page_on_data_is_too_long_to_be_read() -> None:
    lengths = {page.name: len(page.read_text(encoding="utf-8").splitlines()) for page in ROOT.glob("docs/data/*.md")}
    assert len(lengths) > 5
    assert {name: lines for name, lines in lengths.items() if lines > 250} == {}
