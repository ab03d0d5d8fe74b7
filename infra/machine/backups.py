"""A copy of the databases and the buckets in one folder, and the way back.

The databases come first: the store only gains files while runs go on, so what a dump speaks of is in the store when
that is copied afterwards. Secrets are not copied: a home has its own, and `up` sets them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import databases, store
from .home import LOOPBACK, Home, ServersError

MANIFEST = "manifest.json"
CHUNK = 2**20  # bytes read at once


def save(home: Home, folder: Path) -> str:
    """Copy everything into `folder`, which must not be there yet; its manifest is written last. Says what it is."""
    if folder.exists() and any(folder.iterdir()):
        raise ServersError(f"{folder}: expected a folder that is empty or not there yet; name another")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    (folder / "postgres").mkdir()
    for database in databases.DATABASES:
        target = folder / "postgres" / f"{database}.dump"
        _program(home, ["pg_dump", "--format=custom", f"--file={target}", database], "is not saved")
    client = store.client(home)
    for bucket in store.BUCKETS:
        for key, _ in store.objects(home, bucket):
            target = _place(folder, bucket, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, key, str(target))
    files = {_named(folder, path): _known(path) for path in _files(folder)}
    manifest = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"postgres": _server(home), **{name: version(name) for name in ("mlflow", "prefect")}},
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return f"{folder}: {_said(manifest)}"


def check(folder: Path) -> dict[str, Any]:
    """The manifest; ServersError where the backup is not complete, or a file is not as it was."""
    if not (folder / MANIFEST).is_file():
        raise ServersError(f"{folder}: expected a backup with {MANIFEST}, found none; it was cut short, or is none")
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    there = {_named(folder, path) for path in _files(folder)}
    wrong = [f"{name} is missing" for name in sorted(manifest["files"].keys() - there)]
    wrong += [f"{name} is not of this backup" for name in sorted(there - manifest["files"].keys())]
    same = sorted(manifest["files"].keys() & there)
    wrong += [f"{name} has changed" for name in same if _known(folder / name) != manifest["files"][name]]
    if wrong:
        raise ServersError("\n  ".join([f"{folder}: expected the files as they were saved:", *wrong[:10]]))
    return manifest


def bring_back(home: Home, folder: Path, *, replace: bool) -> str:
    """Fill the databases and the buckets from a checked backup. Says what came back."""
    manifest = check(folder)
    held = [f"database {name}" for name in databases.filled(home)]
    held += [f"bucket {name}" for name in store.BUCKETS if any(store.objects(home, name))]
    if held and not replace:
        raise ServersError(f"{home.folder}: expected an empty home, found {', '.join(held)}; --replace deletes them")
    if held:
        databases.remove(home)
        databases.make(home)
        for bucket in store.BUCKETS:
            store.empty(home, bucket)
    for database, owner in databases.DATABASES.items():
        options = ["--no-owner", f"--role={owner}", "--exit-on-error", "--single-transaction", f"--dbname={database}"]
        _program(home, ["pg_restore", *options, str(folder / "postgres" / f"{database}.dump")], "is not brought back")
    client = store.client(home)
    for bucket in store.BUCKETS:
        top = folder / "s3" / bucket
        files = [path for path in _files(folder) if path.is_relative_to(top)]
        for path in files:
            client.upload_file(str(path), bucket, path.relative_to(top).as_posix())
        there = dict(store.objects(home, bucket))
        expected = {path.relative_to(top).as_posix(): path.stat().st_size for path in files}
        if there != expected:
            raise ServersError(f"bucket {bucket}: expected {len(expected)} files, found {len(there)}; see its log")
    return f"{folder} is back: {_said(manifest)}"


def _said(manifest: dict[str, Any]) -> str:
    size = sum(known["bytes"] for known in manifest["files"].values())
    engines = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
    return f"databases and buckets, {len(manifest['files'])} files, {size:,} bytes ({engines})"


def _program(home: Home, command: list[str], failed: str) -> None:
    where = ["--host", LOOPBACK, "--port", str(home.ports["postgres"]), "--username", databases.SUPERUSER]
    environment = os.environ | {"PGPASSWORD": home.secrets["POSTGRES_PASSWORD"], "PGOPTIONS": databases.DISCREET}
    done = subprocess.run(
        [databases.program(command[0]), *where, *command[1:]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServersError(f"{command[-1]} {failed}: {done.stderr.strip()[:500]}")


def _server(home: Home) -> str:
    with databases.connection(home) as opened, opened.cursor() as ask:
        ask.execute("SHOW server_version")
        return str(ask.fetchone()[0]).split()[0]


def _place(folder: Path, bucket: str, key: str) -> Path:
    top = folder / "s3" / bucket
    target = (top / key).resolve()
    if not target.is_relative_to(top.resolve()):
        raise ServersError(f"bucket {bucket}: expected keys that are paths below a folder, received {key!r}")
    return target


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)


def _named(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _known(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}
