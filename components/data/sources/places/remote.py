"""Files at a URL of fsspec's (https://, s3://, ssh://, …) → below `.convoy/data/downloads`, in one move, once.

What has come already when a process is killed, and what has not changed when the rest has, is not fetched again.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import urllib.parse
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from components import offered
from components.artifacts import ArtifactError, Card
from components.config import Located
from components.data.errors import DataError
from components.data.places import DOWNLOADS
from components.data.sources.places.archive import safe_name
from components.data.sources.places.bounds import OverLimitError, Traffic, check_room
from components.data.sources.places.download import CONNECT_SECONDS, STALL_SECONDS
from components.data.sources.places.keeping import alone, link
from components.files import replacing
from components.secrecy import is_secret, scrub

EXTRAS = {"s3": "s3", "s3a": "s3", "ssh": "ssh", "sftp": "ssh", "hf": "huggingface"}  # protocol → extra of this package
_AT_ONCE = 256  # files asked for together; file systems that can, fetch them side by side
# What file systems call the things that change with a file's content, in lower case and without - and _.
_TAGS = frozenset({"etag", "contentmd5", "md5", "md5hash", "digest", "contenthash", "versionid", "generation", "crc"})
_TIMES = frozenset({"lastmodified", "mtime", "modified", "updated", "timemodified", "datetime"})

Answer = TypeVar("Answer")


class Unreachable(DataError):  # noqa: N818  (as `download.Unreachable`)
    """Nothing answers at the address, or nothing is there."""


class KeptFile(Card):
    size: int  # bytes
    state: str | None  # what the file system said of it; None: nothing that would change with its content


class Kept(Card):
    """`kept.json` beside `content/`: what was fetched."""

    address: str  # without secrets
    single: bool  # a file rather than a folder
    files: dict[str, KeptFile]  # by the name below the address


@dataclass(frozen=True)
class _File:
    """One file as the file system describes it."""

    path: str
    size: int | None
    state: str | None


@dataclass(frozen=True)
class _There:
    """What lies at an address, by the name below it."""

    fs: Any
    single: bool
    files: dict[str, _File]


def fetch(source: Located, project: Path) -> Path:
    """The file or folder at `source.path`, fetched unless what is kept is still the same.

    Raises Unreachable, and DataError for a protocol whose package is missing or an address that cannot be meant.
    """
    place = project / DOWNLOADS / _name(source)
    with alone(place):
        kept = _kept(place)
        if kept is not None and _is_pinned(place, kept, source.sha256):
            return _content(place, kept)
        there = _look(source)
        if kept is None or not _is_same(kept, there):
            kept = _bring(source, there, place, kept)
    return _content(place, kept)


def listing(source: Located, project: Path) -> str:
    """A digest of names and what the file system says of them; raises Unreachable.

    A file whose SHA-256 the catalogue states cannot change, so nobody is asked once it is here.
    """
    place = project / DOWNLOADS / _name(source)
    if source.sha256 is not None:
        kept = _kept(place)
        if kept is None or not _is_pinned(place, kept, source.sha256):
            _look(source)
        return source.sha256
    total = hashlib.sha256()
    for name, file in sorted(_look(source).files.items()):
        # Without a tag or time nothing can be said: the content decides, each time.
        total.update(f"{name}\0{file.size}\0{file.state or uuid.uuid4().hex}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def shown(address: str) -> str:
    """The address as people may see it: without a user's name and password, and without its query and fragment."""
    return re.sub(r"(://[^\s?#'\"]*)[?#][^\s'\")]*", r"\1", scrub(address))


# -- what is there ---------------------------------------------------------------------------------------------------


def _look(source: Located) -> _There:
    fs, path = _opened(source)
    about = _asked(source, lambda: fs.info(path))
    if about["type"] != "directory":
        return _There(fs, True, {_file_name(source.path): _described(path, about)})
    found: Mapping[str, Any] = _asked(source, lambda: fs.find(path, detail=True))
    files = {
        safe_name(each.removeprefix(path).lstrip("/"), shown(source.path)).as_posix(): _described(each, details)
        for each, details in found.items()
    }
    if not files:
        raise Unreachable(f"{shown(source.path)}: expected files, received an empty folder")
    return _There(fs, False, files)


def _described(path: str, about: Mapping[str, Any]) -> _File:
    plain = {re.sub(r"[-_]", "", key).lower(): value for key, value in about.items()}
    tags = {
        key: str(value) for key, value in sorted(plain.items()) if key in _TAGS | _TIMES and value not in (None, "")
    }
    return _File(path, about.get("size"), repr(tags) if tags else None)


def _opened(source: Located) -> tuple[Any, str]:
    """The file system and the path in it."""
    import fsspec

    protocol = source.path.partition("://")[0].partition("::")[0]
    secret = sorted(filter(is_secret, source.options))
    if secret:
        raise DataError(
            f"source.options.{secret[0]}: expected secrets in the environment or in ~/.aws, ~/.ssh, …, "
            "received one in params.yaml, which is shared and recorded; remove it"
        )
    options = {**_patience(protocol), **source.options}
    try:
        fs, path = fsspec.url_to_fs(source.path, **options, skip_instance_cache=True)  # which would remember listings
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        how = f"`{offered.installing(extra)}`" if extra else scrubbed(str(error), source.path)
        raise DataError(f"{shown(source.path)}: {protocol}:// needs a package that is not installed: {how}") from None
    except ValueError as error:
        raise DataError(
            f"{shown(source.path)}: expected a path or a URL that fsspec knows, received one it does not: "
            f"{scrubbed(str(error), source.path)}"
        ) from None
    except Exception as error:  # some connect at once, and raise their own libraries' errors
        raise _unreachable(source, error) from None
    return fs, path


def _patience(protocol: str) -> dict[str, Any]:
    """Nobody waits long for a network that is not there (fsspec's own limits are minutes)."""
    if protocol in ("http", "https"):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=STALL_SECONDS)
        return {"client_kwargs": {"timeout": limits, "trust_env": True}}  # trust_env: the environment's proxies
    if protocol in ("s3", "s3a"):
        limits_ = {"connect_timeout": CONNECT_SECONDS, "read_timeout": STALL_SECONDS, "retries": {"max_attempts": 2}}
        return {"config_kwargs": limits_}
    return {"connect_timeout": CONNECT_SECONDS} if protocol in ("ssh", "sftp") else {}


def _asked(source: Located, question: Callable[[], Answer]) -> Answer:
    try:
        return question()
    except OverLimitError as error:
        raise OverLimitError(f"{shown(source.path)}: {error}") from None
    except Exception as error:  # each file system raises its own library's errors
        raise _unreachable(source, error) from None  # whose text and trace may hold what is not to be shown


def _unreachable(source: Located, error: Exception) -> Unreachable:
    said = scrubbed(str(error), source.path)
    kind = type(error).__name__
    return Unreachable(
        f"{shown(source.path)}: expected a file or folder, received {kind}{': ' if said else ''}{said}; "
        "check the address, the network and the credentials"
    )


def scrubbed(text: str, address: str) -> str:
    """A library's message without the secrets of an address, in whatever form it repeats them."""
    for part in address.split("::"):
        pieces = urllib.parse.urlsplit(part)
        secrets = [pieces.query, pieces.netloc.rpartition("@")[0], pieces.password or ""]
        secrets += [value for _, value in urllib.parse.parse_qsl(pieces.query) if len(value) > 4]
        for secret in sorted({each for known in secrets for each in (known, urllib.parse.unquote(known))}, key=len)[
            ::-1
        ]:
            text = text.replace(secret, "…") if secret else text
    return shown(text)


# -- what is kept ----------------------------------------------------------------------------------------------------


def _name(source: Located) -> str:
    """The folder of an address: its last part, to be recognised by, and a digest that is its own."""
    digest = hashlib.sha256(repr((source.path, sorted(source.options.items()))).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', _file_name(source.path))[:40].strip('-')}-{digest[:16]}"


def _file_name(address: str) -> str:
    path = urllib.parse.unquote(urllib.parse.urlsplit(address.rpartition("::")[2] or address).path)
    return path.rstrip("/").rpartition("/")[2].replace("\0", "") or "file"


def _kept(place: Path) -> Kept | None:
    """What was fetched before, if all of it is still there."""
    try:
        kept = Kept.read(place / "kept.json")
    except ArtifactError:
        return None
    for name, file in kept.files.items():
        path = place / "content" / name
        if not path.is_file() or path.stat().st_size != file.size:
            return None
    return kept


def _content(place: Path, kept: Kept) -> Path:
    return place / "content" / next(iter(kept.files)) if kept.single else place / "content"


def _is_pinned(place: Path, kept: Kept, sha256: str | None) -> bool:
    if sha256 is None or not kept.single:
        return False
    with _content(place, kept).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _is_same(kept: Kept, there: _There) -> bool:
    states = {name: file.state for name, file in there.files.items()}
    return None not in states.values() and {name: file.state for name, file in kept.files.items()} == states


def _bring(source: Located, there: _There, place: Path, kept: Kept | None) -> Kept:
    """Fetch what is not kept, then put everything in its place at once."""
    staging = place.with_name(f".{place.name}.partial")  # whole files only, each under the digest of what it is
    staging.mkdir(parents=True, exist_ok=True)
    staged = {name: staging / _key(name, file) for name, file in there.files.items()}
    for name, path in staged.items():
        known = kept.files.get(name) if kept else None
        state = there.files[name].state
        if state is None:
            path.unlink(missing_ok=True)
        elif known is not None and known.state == state and not path.exists():
            link(place / "content" / name, path)
    missing = [name for name, path in staged.items() if not path.exists()]
    check_room(shown(source.path), sum(there.files[name].size or 0 for name in missing), staging)
    traffic = Traffic(staging)
    for start in range(0, len(missing), _AT_ONCE):
        _bring_some(source, there, {name: staged[name] for name in missing[start : start + _AT_ONCE]}, traffic)
    card = Kept(
        address=shown(source.path),
        single=there.single,
        files={
            name: KeptFile(size=path.stat().st_size, state=there.files[name].state) for name, path in staged.items()
        },
    )
    with replacing(place) as temporary:
        for name, path in staged.items():
            target = temporary / "content" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            link(path, target)
        (temporary / "kept.json").write_text(card.to_json(), encoding="utf-8")
    shutil.rmtree(staging)
    return card


def _bring_some(source: Located, there: _There, staged: Mapping[str, Path], traffic: Traffic) -> None:
    """Fetch these files side by side; what does not come whole leaves nothing."""
    coming = {name: path.with_suffix(".part") for name, path in staged.items()}
    origins = [there.files[name].path for name in staged]
    counted = _counted(there, coming, traffic)
    try:
        _asked(source, lambda: there.fs.get(origins, list(map(str, coming.values())), callback=counted))
        for name, path in coming.items():
            expected, received = there.files[name].size, path.stat().st_size
            if expected not in (None, received):
                raise Unreachable(
                    f"{shown(source.path)}: {name}: expected {expected} bytes, received {received}; run again"
                )
            path.replace(staged[name])
    except DataError:
        for path in coming.values():
            path.unlink(missing_ok=True)
        raise


def _counted(there: _There, coming: Mapping[str, Path], traffic: Traffic) -> Any:
    """What fsspec tells of bytes as they come, held against the limits."""
    from fsspec.callbacks import Callback

    names = {str(path): name for name, path in coming.items()}

    class OfFile(Callback):  # type: ignore[misc]
        name, total = "", 0

        def relative_update(self, inc: int = 1) -> None:
            self.total += inc
            traffic.count(self.name, inc, self.total, there.files[self.name].size)

    class OfAll(Callback):  # type: ignore[misc]
        def branched(self, path_1: str, path_2: str, **keys: Any) -> Any:
            child = OfFile()
            child.name = names[str(path_2)]
            return child

    return OfAll()


def _key(name: str, file: _File) -> str:
    return hashlib.sha256(repr((name, file.size, file.state)).encode(errors="surrogateescape")).hexdigest()
