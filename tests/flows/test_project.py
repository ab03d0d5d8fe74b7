"""Where a project may lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.config import ConfigurationError
from flows.base.project import find


def project(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("name", ["what? again", "a\nb", "\udcff"])
def test_a_place_that_no_database_address_can_name_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.delenv("CONVOY_ROOT", raising=False)
    root = project(tmp_path / name / "project")
    # when / then
    with pytest.raises(ConfigurationError, match="rename that folder"):
        find(root)


@pytest.mark.parametrize("name", ["plain", "with blank", "#1 100% [é] 'ünï' 写真\u3000\u00a0"])
def test_any_other_place_is_as_good_as_the_next(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    monkeypatch.delenv("CONVOY_ROOT", raising=False)
    root = project(tmp_path / name / "project")
    # when / then
    assert find(root).root == root.resolve()
