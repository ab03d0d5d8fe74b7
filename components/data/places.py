"""Where Convoy keeps what it makes of data: all of it below `.convoy/data`, where nobody puts originals.

The one place that knows these paths; `dvc.yaml` declares the same ones, since DVC removes an output before its stage
runs. Imports nothing of the project, so that anyone can. Whose a folder is that lies there is `outputs`' business.
"""

from __future__ import annotations

from pathlib import Path

STATE = ".convoy"  # all that Convoy keeps for itself in a project
KEPT = Path(STATE, "data")
DOWNLOADS = KEPT / "downloads"  # what was fetched and unpacked
# Stage → the folder of its outputs, with a folder for each data set. What lies beside these has a dot in its name,
# which no data set has.
FOLDERS = {
    "watch": "watched",
    "ingest": "ingested",
    "inspect": "inspected",
    "prepare": "prepared",
    "validate": "validated",
}


def output(project: Path, stage: str, name: str) -> Path:
    """The folder that a stage writes for a data set."""
    return project / KEPT / FOLDERS[stage] / name


def watched(project: Path, name: str) -> Path:
    return output(project, "watch", name)


def ingested(project: Path, name: str) -> Path:
    return output(project, "ingest", name)


def inspected(project: Path, name: str) -> Path:
    return output(project, "inspect", name)


def prepared(project: Path, name: str) -> Path:
    return output(project, "prepare", name)


def validated(project: Path, name: str) -> Path:
    return output(project, "validate", name)


def error_file(project: Path, name: str) -> Path:
    """Why the last stage of a data set failed; not there where none did."""
    return project / KEPT / f"{name}.error"


def listing_file(project: Path, name: str) -> Path:
    """What a source looked like when it was last read."""
    return project / KEPT / f"{name}.listing"
