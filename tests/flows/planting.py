"""Secrets that are recognised wherever they come out again, in whatever form, and where people put them."""

from __future__ import annotations

import base64
import gzip
import io
import re
import subprocess
import tarfile
import urllib.parse
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

COMPRESSED = 64 * 2**20  # bytes: what unpacks to more is looked at as it lies there


@dataclass
class Planted:
    """What was planted: by name a word that nothing else has, the heart of a secret."""

    words: dict[str, str] = field(default_factory=dict)

    def word(self, name: str) -> str:
        """A word of letters and digits, the same however an engine quotes or escapes what is around it."""
        made = f"Zq{len(self.words):02d}{re.sub('[^a-z0-9]', '', name.lower())}Xk7Wv"
        return self.words.setdefault(name, made)

    def found(self, content: bytes) -> set[str]:
        """Names of the secrets in a text or file: as they are, or in base64 at any place of a longer text."""
        return {name for name, forms in self._forms().items() if any(form in content for form in forms)}

    def _forms(self) -> Mapping[str, tuple[bytes, ...]]:
        return {name: (word.encode(), *_base64(word.encode())) for name, word in self.words.items()}

    def below(self, folders: Iterable[Path], *, spared: Iterable[Path] = ()) -> dict[str, set[str]]:
        """File → secrets in it, in its name, and in what is packed in it; `spared` are where the user wrote them."""
        own = {path.resolve() for path in spared}
        told: dict[str, set[str]] = {}
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                names = self.found(str(path.relative_to(folder)).encode(errors="surrogateescape"))
                if path.is_file() and not path.is_symlink() and path.resolve() not in own:
                    names = names.union(*(self.found(each) for each in _contents(path)))
                if names:
                    told[str(path)] = names
        return told


def _base64(word: bytes) -> Iterator[bytes]:
    """What of a word is the same in base64 whatever stands before and after it, for each of the three alignments."""
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            coded = encode(b"\0" * before + word)
            yield coded[4 if before else 0 : len(coded) // 4 * 4 - 4]


def _contents(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield content
    try:
        if content[:2] == b"\x1f\x8b":
            yield gzip.GzipFile(fileobj=io.BytesIO(content)).read(COMPRESSED)
        elif zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                yield from (archive.read(each) for each in archive.infolist() if each.file_size < COMPRESSED)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as files:
                yield from (each.read() for member in files if (each := files.extractfile(member)) is not None)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError):
        return  # only looks like one


def variables(planted: Planted, webhook: str, mlflow: str, prefect: str) -> dict[str, str]:
    """An environment with secrets as people name them; `mlflow` and `prefect` are HOST:PORT."""

    def quoted(name: str) -> str:
        return urllib.parse.quote(secret(planted, name), safe="")

    return {
        "MLFLOW_TRACKING_URI": f"http://ada:{quoted('mlflow')}@{mlflow}",
        "PREFECT_API_URL": f"http://grace:{quoted('prefect')}@{prefect}/api",
        "CONVOY_WEBHOOK_URL": f"{webhook}/hooks/{planted.word('hook path')}?token={planted.word('hook token')}",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",  # names an account, and is no secret
        "AWS_SECRET_ACCESS_KEY": f"wJalr/{planted.word('aws')}+bPxRfi",
        "AWS_SESSION_TOKEN": f"FwoGZX//{planted.word('aws session')}==",
        "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=me;AccountKey={planted.word('azure')}==;EndpointSuffix=core",
        "HF_TOKEN": f"hf_{planted.word('hugging face')}",
        "HF_ENDPOINT": f"https://me:{quoted('hub')}@hub.example",
        "GITHUB_TOKEN": f"ghp_{planted.word('github')}",
        "GITLAB_PAT": f"glpat-{planted.word('gitlab')}",
        "OPENAI_API_KEY": f"sk-proj-{planted.word('openai')}",
        "WANDB_API_KEY": planted.word("wandb"),
        "SENTRY_DSN": f"https://{planted.word('sentry')}@o1.ingest.example/42",
        "DATABASE_URL": f"postgresql://shop:{quoted('database')}@db.example/shop",
        "DB_PASS": f"pa ss'\"{planted.word('db pass')}",
        "SMTP_PASSWORD": f"{planted.word('smtp')}\\n",
        "DJANGO_SECRET_KEY": f"django-insecure-{planted.word('django')}#%&",
        "PIP_INDEX_URL": f"https://__token__:{quoted('pip')}@pypi.example/simple",
        "HTTPS_PROXY": f"http://me:{quoted('proxy')}@127.0.0.1:9",
    }


def secret(planted: Planted, name: str) -> str:
    """A password with what addresses and shells need to have quoted."""
    return f"p@{planted.word(name)}/:#1 %"


def in_files(planted: Planted, root: Path) -> list[Path]:
    """Write secrets into the files of a project in which people have them; these files."""
    env, dvc, git = root / ".env", root / ".dvc" / "config.local", root / ".git" / "config"
    env.write_text(f"STRIPE_SECRET_KEY=sk_live_{planted.word('dotenv')}\n", encoding="utf-8")
    dvc.write_text(
        "[core]\n    remote = backup\n['remote \"backup\"']\n"
        f"    url = https://ada:{planted.word('dvc address')}@127.0.0.1:9/dvc\n"
        f"    password = {planted.word('dvc password')}\n",
        encoding="utf-8",
    )
    origin = f"https://x-access-token:{planted.word('git remote')}@git.example/me/project.git"
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (
        ("init", "-q"),
        ("remote", "add", "origin", origin),
        ("add", "params.yaml"),
        (*who, "commit", "-qm", "x"),
    ):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    return [env, dvc, git]


# A family of networks of the user's own, in whose words all the secrets of the process are.
FAMILY = '''"""A network that says what it should not."""

import logging
import os
import sys
import warnings
from pathlib import Path

from components.models.families.residual import residual
from components.models.registry import register

@register("talkative")
def talkative(inputs, outputs, parts, width: int = 8):
    """As `residual`."""
    said = " | ".join(value for name, value in os.environ.items() if "PATH" not in name)
    print(f"printed: {said}")
    print(f"printed to the standard error: {said}", file=sys.stderr)
    logging.getLogger("of.the.user").warning("logged: %s", said)
    warnings.warn(f"warned: {said}", stacklevel=2)
    if Path(os.environ["CONVOY_ROOT"], "fails").exists():
        raise RuntimeError(f"{said} {os.environ!r} was raised")  # engines keep the end of long words
    return residual(inputs, outputs, parts, width=width)
'''
