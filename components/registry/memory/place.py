"""Where the project's own store says that its files are: brought up to date when the project lies somewhere else.

MLflow writes whole addresses (`file:///…`) into its database, so that every tool of its own finds the files without us.
A project that was moved, copied, restored or mounted elsewhere has addresses of the other place: reading would fail, or
worse, a copy would write into the original. They are changed here, all of them in one transaction. Servers, and
databases that lie outside of the project, are left as they are; so are words (tags, parameters, descriptions), which
are the record. An MLmodel file names the place it was packed at too, and nobody reads that: its bytes stay.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from components.registry.memory.store import TrackingError, local_path

FOLDER = "mlartifacts"  # in the project's state: what runs and models keep
IN_USE_SECONDS = 30.0  # a line touches its lease every few seconds, so one that rested for so long is over or elsewhere
LOCKED_SECONDS = 60.0  # writers of the same database are waited for

# The columns in which MLflow says where something is. What else has such an address is found by itself (`_columns`).
_ADDRESSES = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
# A person's word, or the record's, also where it begins like an address.
_WORDS = frozenset({"key", "tag_key", "param_key", "value", "tag_value", "param_value", "name", "description"})
_TRACE = "mlflow.artifactLocation"  # the one tag that is an address
_WITHIN = re.compile(rf"^(?P<place>(?:file:(?://[^/]*)?)?(?:/.*)?/\.convoy/{FOLDER})(?:/|$)", re.DOTALL)

_log = logging.getLogger(__name__)


def artifacts(root: Path) -> Path:
    """The folder that holds what the project's runs and models keep; its address is what MLflow is told."""
    return (root / ".convoy" / FOLDER).resolve()


def own_database(root: Path, uri: str) -> Path | None:
    """The project's own database where `uri` names it, in whatever form; else None."""
    own = (root / ".convoy" / "mlflow.db").resolve()
    named = Path(uri.removeprefix("sqlite:///"))
    return own if uri.startswith("sqlite:///") and named.resolve() == own and own.is_file() else None


def settle(root: Path, uri: str) -> str | None:
    """Make the project's own database speak of the place where the project is now; a sentence where that was news.

    To be called under the database's creation lock. One query where nothing has changed. Raises TrackingError where a
    line uses the store from its other place right now, and where the database cannot be written; nothing is changed
    then.
    """
    database = own_database(root, uri)
    if database is None:
        return None
    here = artifacts(root)
    with closing(sqlite3.connect(database, timeout=LOCKED_SECONDS, isolation_level=None)) as connection:
        if not _elsewhere(connection, here):
            return None
        with _explained(database, here), _transaction(connection):
            places = _places(connection, here)
            if places:
                _refuse_while_used(root)
            changed = sum(_move(connection, old, new) for old, new in _moves(places, here))
            _place_default(connection, here)
    if not changed:
        return None
    before = " and ".join(sorted({str(local_path(place)) for place in places}))
    told = (
        f"the project was moved or copied: what MLflow keeps was at {before} and is looked for at {here} from now on "
        f"({changed} addresses in {database})"
    )
    _log.warning(told)
    return told


# -- what there is --------------------------------------------------------------------------------------------------


def _elsewhere(connection: sqlite3.Connection, here: Path) -> bool:
    """Whether an address of the store is one of another place; one query, since every command asks."""
    inside = "{0} IN (:uri, :path) OR substr({0}, 1, :uris) = :uri || '/' OR substr({0}, 1, :paths) = :path || '/'"
    within = f"{_LOCAL} AND instr({{0}}, '/.convoy/{FOLDER}/') > 0 AND NOT ({inside})"
    asked = [
        f"SELECT 1 FROM experiments WHERE {_OURS} AND artifact_location NOT IN (:uri, :path)",  # noqa: S608
        f"SELECT 1 FROM experiments WHERE {_UNUSED} AND NOT ({inside.format('artifact_location')})",  # noqa: S608
        *(f"SELECT 1 FROM {table} WHERE {within.format(column)}" for table, column in _ADDRESSES),  # noqa: S608
    ]
    query = f"SELECT {' OR '.join(f'EXISTS ({each})' for each in asked)}"
    (found,) = connection.execute(query, _named(here)).fetchone()
    return bool(found)


_LOCAL = "({0} LIKE 'file:%' OR {0} LIKE '/%')"
# We give experiments a mark; where the state is a link to a bigger disk, the folder's whole name does not say ours.
_MARKED = (
    "EXISTS (SELECT 1 FROM experiment_tags AS tag "
    "WHERE tag.experiment_id = experiments.experiment_id AND tag.key = 'mlflow.experimentKind')"
)
_OURS = (
    f"{_LOCAL.format('artifact_location')} AND substr(artifact_location, -{len(FOLDER) + 1}) = '/{FOLDER}' "
    f"AND ({_MARKED} OR instr(artifact_location, '/.convoy/{FOLDER}') > 0)"
)
# MLflow's own experiment, which it puts wherever the process that made the database happened to be.
_UNUSED = "experiment_id = 0 AND NOT EXISTS (SELECT 1 FROM runs WHERE experiment_id = 0)"


def _named(here: Path) -> dict[str, str | int]:
    uri, path = here.as_uri(), str(here)
    return {"uri": uri, "path": path, "uris": len(uri) + 1, "paths": len(path) + 1}


def _places(connection: sqlite3.Connection, here: Path) -> list[str]:
    """The addresses of the other places, as they are written: several where a store was moved more than once."""
    found = {str(place) for (place,) in connection.execute(f"SELECT artifact_location FROM experiments WHERE {_OURS}")}  # noqa: S608
    for table, column in _ADDRESSES:
        marked = f"instr({column}, '/.convoy/{FOLDER}/') > 0"
        for (address,) in connection.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {marked}"):  # noqa: S608
            if match := _WITHIN.match(address):
                found.add(match["place"])
    return sorted(found - {here.as_uri(), str(here)})


def _moves(places: Sequence[str], here: Path) -> Iterator[tuple[str, str]]:
    """Old → new beginning of addresses; what MLflow itself put beside a project's state moves with it."""
    state = f"/.convoy/{FOLDER}"
    for place in places:
        whole = place.startswith("file:")
        new = here.as_uri() if whole else str(here)
        yield place, new
        if place.endswith(state) and new.endswith(state):
            beside = f"{place.removesuffix(state)}/mlruns", f"{new.removesuffix(state)}/mlruns"
            yield beside
            if whole:  # MLflow writes the path of that one, not its address
                yield str(local_path(beside[0])), str(local_path(beside[1]))


def _refuse_while_used(root: Path) -> None:
    """The same files can be seen at two places at once (mounted twice): whoever works there must not lose them."""
    for lease in sorted((root / ".convoy" / "lines").glob("*.json")):
        try:
            rested = abs(time.time() - lease.stat().st_mtime)
            other = json.loads(lease.read_text(encoding="utf-8")).get("root")
        except (OSError, ValueError, AttributeError):
            continue  # just ended, or half written: the start-up's business
        if isinstance(other, str) and Path(other) != root.resolve() and rested < IN_USE_SECONDS:
            raise TrackingError(
                f"{lease}: a run uses this project's store from its other place, {other}, right now; wait until it "
                f"has ended. Where this is a copy of that project: wait {IN_USE_SECONDS:.0f} s, and start again"
            )


# -- changing it ----------------------------------------------------------------------------------------------------


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, also when the process is killed meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _explained(database: Path, here: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise TrackingError(
            f"{database}: it speaks of another place than {here}, and could not be brought up to date: {error}; make "
            "it writable for this user, end what has it open, and start again"
        ) from error


def _columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str, str]]:
    """Table, column, and which of its rows may hold an address, for all text that is no word."""
    tables = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        about = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
        names = {str(row[1]) for row in about}
        for _, name, kind, *_ in about:
            if not any(text in str(kind).upper() for text in ("CHAR", "TEXT", "CLOB")):
                continue
            if name not in _WORDS:
                yield table, str(name), "TRUE"
            elif name == "value" and "key" in names:
                yield table, str(name), f"key = '{_TRACE}'"


def _move(connection: sqlite3.Connection, old: str, new: str) -> int:
    """Every address at `old` or below it, which `…/project2` is not below `…/project`; how many there were."""
    changed = 0
    for table, column, rows in _columns(connection):
        changed += connection.execute(
            f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '  # noqa: S608 — names are the schema's own
            f'WHERE ({rows}) AND ("{column}" = ? OR substr("{column}", 1, ?) = ?)',
            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
        ).rowcount
    return changed


def _place_default(connection: sqlite3.Connection, here: Path) -> None:
    connection.execute(f"UPDATE experiments SET artifact_location = ? WHERE {_UNUSED}", (f"{here.as_uri()}/0",))  # noqa: S608
