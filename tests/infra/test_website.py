"""The site has every page, a place for each, and no link that leads out of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from infra import website

ROOT = Path(__file__).parents[2]


def placed(places: list[object]) -> list[str]:
    """The pages that the navigation names, in order."""
    found: list[str] = []
    for place in places:
        assert isinstance(place, dict)
        for below in place.values():
            found += placed(below) if isinstance(below, list) else [below]
    return found


def test_every_page_has_one_place() -> None:
    with (ROOT / "infra" / "zensical.toml").open("rb") as file:
        named = placed(tomllib.load(file)["project"]["nav"])
    assert sorted(named) == sorted(page.relative_to(ROOT).as_posix() for page in website.pages())
    assert {page for page in ROOT.glob("docs/**/*.md") if "examples" not in page.parts} <= set(website.pages())


def test_every_link_of_the_site_leads_to_a_file_of_it(tmp_path: Path) -> None:
    website.lay_out(tmp_path)
    links = 0
    for page in [tmp_path / page.relative_to(ROOT) for page in website.pages()]:
        for link in website.LINK.findall(website.FENCED.sub("", page.read_text(encoding="utf-8"))):
            place = link.partition("#")[0]
            if place and not re.match(r"[a-z]+:", link):
                target = (page.parent / place).resolve()
                assert target.is_file() and target.is_relative_to(tmp_path.resolve()), (page, link)
                links += 1
    assert links > 200


@pytest.mark.parametrize(
    ("place", "copy", "holds"),
    [
        ("flows/course.py", "source/flows/course.py.md", "def through(settings: LineConfig)"),
        (".ci/run", "source/ci/run.md", "make lint"),
        ("components/decoding", "source/components/decoding.md", "- `opening.py`"),
    ],
)
def test_what_is_no_page_is_shown_as_one(tmp_path: Path, place: str, copy: str, holds: str) -> None:
    website.lay_out(tmp_path)
    text = (tmp_path / copy).read_text(encoding="utf-8")
    assert f"# `{place}`" in text and holds in text
