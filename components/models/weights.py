"""Which file the weights are in that `NetworkConfig.pretrained` names, and whether it is still the same.

    imagenet          what torchvision or timm publish for this network: downloaded once, or from CONVOY_WEIGHTS
    file:PATH         safetensors, or PyTorch's own format (read without unpickling any code)
    model:FOLDER      a Model's weights
    run:RUN_ID/NAME   a model of an earlier run; whoever knows the runs makes a `model:` of it (`pinned`)
    vectors:PATH      the vectors of words, for a network for texts (`word_vectors`)

`CONVOY_WEIGHTS` names a mirror, a folder or an http(s) address: torchvision's files by their names, timm's as
`OWNER/REPOSITORY/model.safetensors`. What the tensors are put into is `pretrained`'s business.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlparse
from urllib.request import url2pathname

from components.artifacts import Model
from components.config import ConfigurationError, NetworkConfig
from components.models import word_vectors
from components.models.registry import ALIASES, arguments, takes

MIRROR = "CONVOY_WEIGHTS"


@dataclass(frozen=True)
class Published:
    """Where a library says that a network's weights are."""

    path: str  # below a mirror
    url: str | None = None
    repository: str | None = None  # on the Hugging Face hub, if not at a URL
    sha256: str = ""  # how it begins, where the publisher says so


def problems(config: NetworkConfig, key: str = "network") -> list[str]:
    """What is wrong with `pretrained`, before anything is downloaded: a line each, under its key."""
    if config.pretrained is None:
        return []
    kind, rest, _ = _parsed(config.pretrained)
    where, missing = f"{key}.pretrained", ""
    if kind == "imagenet":
        if published(config) is None:
            missing = "torchvision or timm to publish weights of this network"
    elif kind == "file" and not Path(rest).is_file():
        missing = "a file of weights that exists"
    elif kind == "model" and not _weights_in(Path(rest)).is_file():
        missing = "the folder of a Model with model.safetensors in it"
    elif kind == "vectors":
        return _problems_of_vectors(config, Path(rest), key)
    return [f"{where}: expected {missing}, received {config.pretrained!r} for {config.name}"] if missing else []


def _problems_of_vectors(config: NetworkConfig, path: Path, key: str) -> list[str]:
    if takes(config.name) != "text":
        return [f"{key}.pretrained: expected a network for texts, which has vectors of words, received {config.name}"]
    lost = [each for each in word_vectors.files(path) if not each.is_file()]
    if lost:
        return [f"{key}.pretrained: expected word vectors in {path}, and {lost[0]} is not there"]
    try:
        found = word_vectors.dimension_of(path)
    except ConfigurationError as error:
        return [f"{key}.{error}"]
    own = arguments(config.name).get("dimension")
    if own is None or config.arguments.get("dimension", own[1]) == found:
        return []
    return [
        f"{key}.arguments.dimension: expected {found}, as the vectors in {path} have it, received "
        f"{config.arguments.get('dimension', own[1])}"
    ]


def pinned(config: NetworkConfig, models_of: Callable[[str], Path]) -> NetworkConfig:
    """The same network, with `pretrained` as an absolute path and the SHA-256 of what is there.

    Whatever is keyed by the configuration is then keyed by the weights too. `models_of(RUN_ID)` is the folder in which
    that run's models are, one folder each. `imagenet` becomes the file that it stands for. Raises ConfigurationError
    for weights that are not there.
    """
    if config.pretrained is None:
        return config
    kind, rest, _ = _parsed(config.pretrained)
    if kind == "run":
        kind, rest = "model", str(_model_of(rest, models_of))
        config = config.model_copy(update={"pretrained": f"model:{rest}"})
    path = cast(Path, locate(config))
    place = path.parent if kind == "model" else path
    kept = kind if kind in ("model", "vectors") else "file"
    return config.model_copy(update={"pretrained": f"{kept}:{place.resolve()}#sha256={_content(kind, path)}"})


def digest(config: NetworkConfig) -> str | None:
    """SHA-256 of the weights that training starts from; None where they are random."""
    path = locate(config)
    return None if path is None else _content(_parsed(str(config.pretrained))[0], path)


def of_words(config: NetworkConfig) -> bool:
    """Whether training starts from the vectors of words, and all else is random."""
    return config.pretrained is not None and _parsed(config.pretrained)[0] == "vectors"


def locate(config: NetworkConfig) -> Path | None:
    """The file, downloaded where it must be; None for random weights.

    Raises ConfigurationError where it is missing, cannot be had, or is not the one that `#sha256=…` says.
    """
    if config.pretrained is None:
        return None
    kind, rest, expected = _parsed(config.pretrained)
    if kind == "run":
        raise ConfigurationError(f"pretrained: expected the run's folder in place of {config.pretrained!r} (`pinned`)")
    if kind == "imagenet":
        return _fetched(config)
    path = _weights_in(Path(rest)) if kind == "model" else Path(rest)
    for each in word_vectors.files(path) if kind == "vectors" else [path]:
        if not each.is_file():
            raise ConfigurationError(f"pretrained: expected weights at {each}, found none")
    if expected and (found := _content(kind, path)) != expected:
        raise ConfigurationError(f"pretrained: expected {path} with SHA-256 {expected}, found {found}: it has changed")
    return path


def published(config: NetworkConfig) -> Published | None:
    """What the network's library publishes for ImageNet; None where it publishes nothing, or there is no library."""
    name = ALIASES.get(config.name, config.name)
    origin, _, own = name.partition(":")
    if origin == "torchvision":
        from torchvision import models

        choices = models.get_model_weights(own)
        url = str(choices["DEFAULT"].url)
        file = Path(urlparse(url).path).name
        return Published(file, url=url, sha256=_hash_in(file))
    if origin == "timm":
        from timm.models import get_pretrained_cfg

        about = get_pretrained_cfg(own)
        if about is None or not about.has_weights:
            return None
        if about.hf_hub_id:
            file = about.hf_hub_filename or "model.safetensors"
            return Published(f"{about.hf_hub_id}/{file}", repository=about.hf_hub_id)
        if about.url:
            url = about.url if isinstance(about.url, str) else about.url[0]
            file = Path(urlparse(url).path).name
            return Published(file, url=url, sha256=_hash_in(file))
    return None


def sha256(path: Path) -> str:
    """SHA-256 of a file's content; read once for as long as the file's size and time stay the same."""
    about = path.stat()
    return _sha256(path.resolve(), about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(kind: str, path: Path) -> str:
    """SHA-256 of what the weights are made of: one file or, of an array of vectors, that of its own and its words'."""
    each = [sha256(part) for part in (word_vectors.files(path) if kind == "vectors" else [path])]
    return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()


def _parsed(pretrained: str) -> tuple[str, str, str]:
    """Kind, path (or run), expected SHA-256 or nothing."""
    place, _, expected = pretrained.partition("#sha256=")
    kind, _, rest = place.partition(":")
    return kind, rest, expected


def _weights_in(folder: Path) -> Path:
    return folder / "model.safetensors"


def _model_of(run: str, models_of: Callable[[str], Path]) -> Path:
    run_id, _, name = run.partition("/")
    folder = models_of(run_id)
    found = sorted(place.name for place in folder.iterdir() if (place / "model.json").is_file())
    if name and name not in found:
        raise ConfigurationError(
            f"pretrained: expected one of {', '.join(found)} behind run:{run_id}/, received {name!r}"
        )
    if not name and len(found) != 1:
        raise ConfigurationError(
            f"pretrained: expected run:{run_id}/NAME with one of its models ({', '.join(found) or 'it has none'})"
        )
    return Model.load(folder / (name or found[0])).folder


def _fetched(config: NetworkConfig) -> Path:
    """The published file: in a mirror's folder, in the library's own cache, or downloaded into it."""
    from torch import hub

    source = published(config)
    if source is None:
        raise ConfigurationError(
            f"pretrained: expected torchvision or timm to publish weights of {config.name}, and neither does"
        )
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    scheme = urlparse(mirror).scheme
    if mirror and scheme not in ("http", "https"):
        path = Path(url2pathname(urlparse(mirror).path) if scheme == "file" else mirror) / source.path
        return _checked(path, source, f"a copy of it below {MIRROR}={mirror}")
    url = f"{mirror}/{source.path}" if mirror else source.url
    try:
        if url is None:
            from huggingface_hub import hf_hub_download

            return Path(hf_hub_download(str(source.repository), Path(source.path).name))
        path = Path(hub.get_dir()) / "checkpoints" / source.path.replace("/", "--")
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            hub.download_url_to_file(url, str(path), hash_prefix=source.sha256 or None, progress=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"pretrained: expected weights of {config.name} at {url or source.repository}: {error}; where there is no "
            f"network, set {MIRROR} to a folder with {source.path}, or name a file (file:PATH)"
        ) from error
    return _checked(path, source, f"what was downloaded from {url}")


def _checked(path: Path, source: Published, what: str) -> Path:
    if not path.is_file():
        raise ConfigurationError(f"pretrained: expected {what}, and {path} is not there")
    if not (found := sha256(path)).startswith(source.sha256):
        raise ConfigurationError(
            f"pretrained: expected {path} with a SHA-256 that begins with {source.sha256}, found {found}: not the file "
            "that was published; remove it"
        )
    return path


def _hash_in(name: str) -> str:
    """torchvision's and timm's files end in the first digits of their SHA-256: `resnet18-f37072fd.pth`."""
    found = re.search(r"-([0-9a-f]{8,64})\.\w+$", name)
    return found[1] if found else ""
