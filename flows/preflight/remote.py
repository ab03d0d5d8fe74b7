"""Git and DVC's remote, read from their files: importing DVC costs a second, and a network is asked only on request."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from components import offered, texts
from components.secrecy import scrub
from flows.base.project import Project
from flows.preflight.finding import ANSWER_SECONDS, Finding
from flows.preflight.places import writable

CHECK = "DVC remote"
# Scheme of a remote → package of DVC's that reaches it; of two, an extra of ours is what installs it.
PLUGINS = {
    "s3": "dvc_s3", "ssh": "dvc_ssh", "gs": "dvc_gs", "azure": "dvc_azure", "hdfs": "dvc_hdfs", "oss": "dvc_oss",
    "gdrive": "dvc_gdrive", "webdav": "dvc_webdav", "webdavs": "dvc_webdav",
}  # fmt: skip
EXTRAS = ("s3", "ssh")
KEYS = {"access_key_id", "secret_access_key", "session_token", "profile", "credentialpath"}  # of an S3 remote


def git(project: Project) -> Finding:
    """A note: history is all that git is needed for (`convoy backfill`, the commit of a run)."""
    if shutil.which("git") is None:
        return Finding("ok", "git", "not installed: runs do not know their commit, and past days have no history")
    try:
        inside = subprocess.run(
            ["git", "rev-parse", "--is-inside-work-tree"],
            cwd=project.root,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("ok", "git", f"does not answer ({error}): runs do not know their commit")
    if inside.returncode == 0:
        return Finding("ok", "git", "the project is in a repository")
    if "dubious ownership" in inside.stderr:
        way = f"`git config --global --add safe.directory {texts.shell(str(project.root))}`"
        return Finding("warning", "git", "the repository belongs to another user, and git does not read it", way)
    return Finding("ok", "git", "no repository here: runs do not know their commit")


def dvc_remote(project: Project, *, ask: bool = False) -> Finding:
    """The default remote: a folder is looked at; of others, whether what reaches them is installed; `ask` asks them."""
    try:
        config = _config(project.root / ".dvc")
    except (OSError, configparser.Error) as error:
        return Finding("error", CHECK, f"{project.root / '.dvc' / 'config'}: {error}", "`git checkout .dvc/config`")
    name = config.get("core", {}).get("remote")
    if name is None:
        return Finding("ok", CHECK, "none is set: `dvc push` and `dvc pull` have nowhere to go")
    about = config.get(f'remote "{name}"', {})
    address = about.get("url")
    if address is None:
        way = f"`dvc remote add --default {texts.shell(name)} ADDRESS`"
        return Finding("error", CHECK, f"the default remote {name!r} has no address in .dvc/config", way)
    scheme = address.partition("://")[0] if "://" in address else ""
    if scheme in ("", "file", "local"):
        return _folder(project, name, address)
    return _network(project, name, address, scheme, about, ask=ask)


def _folder(project: Project, name: str, address: str) -> Finding:
    # A relative address is meant from the folder of the file that names it.
    folder = Path(os.path.normpath(project.root / ".dvc" / Path(address.removeprefix("file://")).expanduser()))
    found = writable(
        CHECK, folder, f"mount or make it, or name another: `dvc remote modify {texts.shell(name)} url ADDRESS`"
    )
    if found.level != "ok" or folder.exists():
        return found
    return Finding("ok", CHECK, f"{folder}, made by the first `dvc push`")


def _network(project: Project, name: str, address: str, scheme: str, about: dict[str, str], *, ask: bool) -> Finding:
    public = scrub(address)
    package = PLUGINS.get(scheme, "dvc_http")
    if find_spec(package) is None:
        plain = offered.command("python", "-m", "pip", "install", package.replace("_", "-"))
        way = f"`{offered.installing(scheme) if scheme in EXTRAS else plain}`"
        return Finding("error", CHECK, f"{name} is {public}, and {package} is not installed", way)
    if scheme == "s3" and not (KEYS & about.keys()) and not _aws_knows_us():
        way = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws configure`; a role of the machine will do too"
        return Finding("warning", CHECK, f"{name} is {public}; no credentials are in the environment or in ~/.aws", way)
    if not ask:
        return Finding("ok", CHECK, f"{name} is {public}; `convoy doctor --remote` asks it")
    from components.data import versions
    from components.data.errors import DataError

    try:
        versions.ask_remote(project.root)
    except DataError as error:
        return Finding(
            "error",
            CHECK,
            scrub(str(error)),
            "`dvc remote list` shows the address; set the credentials that it wants",
        )
    return Finding("ok", CHECK, f"{name} is {public} and answers")


def _aws_knows_us() -> bool:
    named = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    if any(os.environ.get(name) for name in named):
        return True
    kept = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    return kept.is_file() or Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser().is_file()


def _config(folder: Path) -> dict[str, dict[str, str]]:
    """Sections of DVC's configuration, the local file's over the shared one's. Sections are quoted: 'remote "NAME"'."""
    found: dict[str, dict[str, str]] = {}
    for file in (folder / "config", folder / "config.local"):
        if not file.is_file():
            continue
        parser = configparser.ConfigParser(interpolation=None, strict=False, default_section="\0")
        # Indented lines are continuations to Python's parser, and plain ones to DVC's.
        parser.read_string("\n".join(line.strip() for line in file.read_text(encoding="utf-8").splitlines()))
        for section in parser.sections():
            values = {key: value.strip().strip("\"'") for key, value in parser[section].items()}
            found.setdefault(section.strip("'"), {}).update(values)
    return found
