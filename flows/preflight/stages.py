"""Whether the project's `dvc.yaml` has the stages of data as this release does them: one that was begun with another
release has that one's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.config import YamlError, read_yaml
from flows.base.project import Project
from flows.preflight.finding import Finding
from flows.projects.starting import FILES, GIVEN

CHECK = "stages of data"


def stages(project: Project) -> Finding:
    """Compared by what they say; stages of one's own beside them are nobody's business."""
    file, given = project.root / "dvc.yaml", GIVEN / FILES["dvc.yaml"]
    way = f"take them from {given}"
    try:
        own, ours = _stages(file), _stages(given)
    except YamlError as error:
        return Finding("error", CHECK, f"{file}: not readable as YAML: {error}", way)
    other = [name for name in ours if own.get(name) != ours[name]]
    if other:
        found = f"dvc.yaml has {', '.join(other)} otherwise than this release"
        return Finding("warning", CHECK, found, way)
    return Finding("ok", CHECK, f"{', '.join(ours)}, as of this release")


def _stages(file: Path) -> dict[str, Any]:
    values = read_yaml(file.read_bytes())
    found = values.get("stages") if isinstance(values, dict) else None
    return found if isinstance(found, dict) else {}
