"""The nouns: what is handed from room to room.

`Dataset`, `Model`, `Predictions`, `Evidence` and `Decision` are small and frozen; each can be saved, loaded and
digested. A folder is written under a temporary name and renamed, so a half-written noun is never found.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.config import NetworkConfig
from components.own_files import remove

SAID = 5  # mistakes of a file that its error names


class ArtifactError(ValueError):
    """A noun on disk is not what it says it is; names the file, what was expected and what was found."""


class Card(BaseModel):
    """A frozen JSON document that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse the file; raises ArtifactError naming it where it is missing or malformed."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path}: expected a readable {cls.__name__}: {_said(error)}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _said(error: OSError | ValueError) -> str:
    """In one line; of many mistakes the first few."""
    if not isinstance(error, ValidationError):
        return str(error)
    wrong = [
        ": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"]]))
        for each in error.errors(include_url=False, include_input=False)
    ]
    return "; ".join(wrong[:SAID]) + ("; …" if len(wrong) > SAID else "")


# -- Dataset --------------------------------------------------------------------------------------------------------

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class InputSpec(Card):
    """What one input of a network is: `(height, width, channels)` pixels, and their mean and deviation in [0, 1]."""

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]  # a value a channel, over the training split
    std: tuple[float, ...]
    # How pictures are brought there: `image:` of the catalogue, by which serving reads as preparing did. A card of an
    # earlier version says nothing, and takes what comes, as it did then.
    resize: bool = True
    range: tuple[float, float] | None = None
    frames: Literal["only", "first"] = "only"


class DatasetCard(Card):
    """`dataset.json`: what the shards beside it hold."""

    name: str
    task: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]  # names of the `group_*` columns
    input: InputSpec
    splits: dict[str, int]  # samples a split
    fingerprint: str  # SHA-256 of the ingested source
    folds: int | None = None  # the training split has a column `fold` of 0 … folds - 1
    dropped: dict[str, str] = {}  # id → why it left the training split; its row is in `dropped-*.parquet`
    # These two are in the file where there is something to say: data without twins keeps the digest it had before them.
    moved: dict[str, str] = Field(default={}, exclude_if=operator.not_)  # id → why it is in another split than drawn
    # id of a validation or test sample → a twin of it in an earlier split, so that it may have been learnt by heart
    twins: dict[str, str] = Field(default={}, exclude_if=operator.not_)


@dataclass(frozen=True)
class Dataset:
    """A folder of Parquet shards, `SPLIT-00000.parquet` …, beside `dataset.json`.

    Columns: `id` (string, unique), `image` (encoded bytes), `target` (int64 class, or the bytes of a PNG mask whose
    pixels are classes), any `group_*`, `split`, `fold` where the training split is in folds, and facts found while
    preparing (`width`, `height`, `mode`, `decodable`, `problem`, `pixels_sha256`, `mean`, `std`).
    `digest` is DVC's, where the data is versioned; otherwise that of the files.
    """

    folder: Path
    card: DatasetCard
    digest: str

    @classmethod
    def load(cls, folder: Path, digest: str | None = None) -> Dataset:
        card = DatasetCard.read(folder / "dataset.json")
        return cls(folder, card, digest or digest_folder(folder))

    def samples_digest(self, split: Split) -> str:
        """SHA-256 over every sample's id, pixels and target, whatever their order."""
        rows = []
        for table in self.batches(split, ["id", "pixels_sha256", "target"]):
            columns = (table.column(name).to_pylist() for name in ("id", "pixels_sha256", "target"))
            rows += [hashlib.sha256(repr(row).encode()).digest() for row in zip(*columns, strict=True)]
        return hashlib.sha256(b"".join(sorted(rows))).hexdigest()

    def shards(self, split: Split) -> list[Path]:
        return sorted(self.folder.glob(f"{split}-*.parquet"))

    def table(self, split: Split, columns: list[str] | None = None) -> pa.Table:
        """The split's rows, in their stored order."""
        shards = self.shards(split)
        if not shards:
            raise ArtifactError(f"{self.folder}: expected shards {split}-*.parquet, found none")
        return pa.concat_tables([pq.read_table(shard, columns=columns) for shard in shards])

    def batches(self, split: Split, columns: list[str] | None = None, rows: int = 10_000) -> Iterator[pa.Table]:
        """The split's rows in their stored order, at most `rows` at a time: no more than a row group is in memory.

        Raises ArtifactError where the split has no shards.
        """
        shards = self.shards(split)
        if not shards:
            raise ArtifactError(f"{self.folder}: expected shards {split}-*.parquet, found none")
        for shard in shards:
            with pq.ParquetFile(shard) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=columns)
                    for start in range(0, len(table), rows):
                        yield table.slice(start, rows)


# -- Model ----------------------------------------------------------------------------------------------------------


class Ancestor(BaseModel):
    """A model this one was made of, by its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # boosted: its mistakes decided what a sample counts; unpruned: it lost channels or weights
    role: Literal["member", "teacher", "float", "boosted", "unpruned"]
    digest: str


# float32 and int8 are computed in; of the others the weights are stored so, and computed with in float32.
Precision = Literal["float32", "int8", "int8-weights", "int4-weights", "float16", "bfloat16"]


class ModelCard(Card):
    """`model.json`: how to build the network again, and where it comes from."""

    name: str  # what the model is on the line: member-0, ensemble, student, served
    task: str
    network: NetworkConfig  # an ensemble's is `ensemble`, and its members are in `members`
    members: tuple[NetworkConfig, ...] = ()
    fusion: str | None = None  # how members' outputs are combined
    classes: tuple[str, ...]
    input: InputSpec
    data: str  # digest of the data set it was trained on
    seed: int | None = None
    fold: tuple[int, int] | None = None  # (i, k): it has not seen fold i of k of the training split
    precision: Precision = "float32"  # what is executed, and how the weights are stored
    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime"  # what executes the graph where it is served
    batch_runtime: Literal["onnxruntime", "openvino"] | None = None  # the same from `batch_from` images at a time on
    batch_from: int = 1
    parents: tuple[Ancestor, ...] = ()


@dataclass(frozen=True)
class Model:
    """A folder: `model.json` plus `model.safetensors` (the network's state) and/or `model.onnx` (what is served)."""

    folder: Path
    card: ModelCard

    @classmethod
    def load(cls, folder: Path) -> Model:
        model = cls(folder, ModelCard.read(folder / "model.json"))
        if not model.weights.is_file() and not model.onnx.is_file():
            raise ArtifactError(f"{folder}: expected model.safetensors or model.onnx, found neither")
        return model

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"

    @cached_property
    def digest(self) -> str:
        return digest_folder(self.folder)


def write_model(folder: Path, card: ModelCard, fill: Callable[[Path], None]) -> Model:
    """Write a model folder in one move: `fill` puts weights and/or ONNX into the folder it is given."""
    with replacing(folder) as temporary:
        (temporary / "model.json").write_text(card.to_json(), encoding="utf-8")
        fill(temporary)
    return Model.load(folder)


# -- Predictions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predictions:
    """One table, a row a sample: whoever judges a model reads this.

    Columns: `id`, `split`, any `group_*`, then those of the task: a classifier's `target` and `prediction` (int64) and
    `scores` (list of a probability a class); a dense task's per-sample sufficient statistics (`confusion`: list of
    C·C counts, row = target; `calibration`: list of 3·bins sums) in their place.
    `model` and `data` are the digests of what predicted and of what it was shown.
    """

    table: pa.Table
    model: str
    data: str
    classes: tuple[str, ...]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        about = {"model": self.model, "data": self.data, "classes": list(self.classes)}
        table = self.table.replace_schema_metadata({b"convoy": json.dumps(about).encode()})
        with writing(folder / "predictions.parquet") as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, folder: Path) -> Predictions:
        path = folder / "predictions.parquet"
        try:
            table = pq.read_table(path)
            about = json.loads((table.schema.metadata or {})[b"convoy"])
            return cls(table, about["model"], about["data"], tuple(about["classes"]))
        except (OSError, KeyError, ValueError) as error:  # pa.ArrowInvalid and json's are ValueErrors
            raise ArtifactError(f"{path}: expected a table of predictions: {error}") from error


# -- Evidence -------------------------------------------------------------------------------------------------------


WITH_TWINS = "samples_with_twins"  # figure: samples that are judged on and have a twin in what was learnt from


class Figure(Card):
    """A measured value with its interval (None where it has none, such as a size)."""

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""


class GroupFigure(Card):
    """A metric for one group: `column` is a `group_*` column or a `slice_*` of the data's own."""

    column: str
    group: str
    metric: str
    samples: int
    figure: Figure


class Evidence(Card):
    """Everything measured about one model on one split of one data set."""

    model: str  # digest of the artifact that was measured
    data: str  # digest of the data it was measured on
    split: str
    samples: int
    primary: str  # name of the task's primary metric, a key of `figures`
    runtime: str = ""  # what answered and was timed: pytorch, onnxruntime, openvino; empty where nobody noted it
    # The kind of machine that it was measured on (`components.machine`); none in evidence of earlier versions.
    processor: dict[str, str] = Field(default={}, exclude_if=operator.not_)
    # How int8 was added up in what is judged, its answers being worse so (`as run`, `saturating`), or `either` where no
    # sum can saturate; empty for float.
    sums: Literal["", "either", "as run", "saturating"] = Field(default="", exclude_if=operator.not_)
    figures: dict[str, Figure]
    classes: dict[str, dict[str, float]] = {}  # class → metric → value
    groups: tuple[GroupFigure, ...] = ()
    disparity: dict[str, float] = {}  # Fairlearn: `COLUMN.difference`, `COLUMN.ratio` of the primary metric
    notes: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / "evidence.json") as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Evidence:
        return cls.read(folder / "evidence.json")


# -- Decision -------------------------------------------------------------------------------------------------------


class Verdict(Card):
    """What one gate said."""

    gate: str
    passed: bool
    value: float | None
    low: float | None = None
    high: float | None = None
    limit: float | None
    reason: str


class Decision(Card):
    """What was decided about a version, by whom or which gates, when, and on which evidence."""

    action: Literal["approve", "reject", "promote", "roll back", "retire"]
    name: str
    version: int
    alias: str | None  # the alias that moves (that goes, where a version is retired), None for a rejection
    by: str
    at: str  # ISO 8601, UTC
    reason: str
    evidence: str | None  # digest of the Evidence
    verdicts: tuple[Verdict, ...] = ()
    production: int | None = None  # what the gates compared the version with: what was in production then
    tries: int | None = None  # the version was the so-manieth that the gates judged on its test split

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with writing(folder / "decision.json") as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Decision:
        return cls.read(folder / "decision.json")


# -- files ----------------------------------------------------------------------------------------------------------

# Read once: asking means setting it, for all threads.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def _readable(path: Path) -> None:
    """Give a file the rights that any new one has: safetensors and temporary files are their owner's alone.

    Else a project that several people share has models that only one of them can load.
    """
    if stat.S_IMODE(path.stat().st_mode) & 0o077 == 0:
        path.chmod(0o666 & ~_UMASK)


def followed(folder: Path) -> Path:
    """The folder itself, its parents made, or the one at the other end of a link; ArtifactError where that has gone."""
    if not folder.is_symlink():
        folder.parent.mkdir(parents=True, exist_ok=True)
        return folder
    real = Path(os.path.realpath(folder))
    if real.is_symlink() or not real.parent.is_dir():
        raise ArtifactError(
            f"{folder}: expected a link to a folder, received one to {real}, and there is none; mount that disk, or "
            "remove the link"
        )
    return real


@contextmanager
def replacing(folder: Path, check: Callable[[Path], None] = lambda folder: None) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place when the block ends well, and goes when it does not.

    What was there before is moved aside in one move too, never emptied in place: a kill leaves the old, the new or
    nothing, but no part of either. Where `folder` is a link (to a bigger disk), that happens at its other end, and the
    link stays. A `check` raises for what is not to be replaced; it is asked first, and once more before the move, since
    what was asked for a while ago may be somebody's by now. Raises ArtifactError for a link that leads nowhere.
    """
    check(folder)
    link, folder = folder, followed(folder)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    aside = temporary.with_name(f"{temporary.name}.old")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file() and not file.is_symlink():
                _readable(file)
        check(link)
        if folder.exists():
            folder.replace(aside)
        temporary.replace(folder)
    except BaseException:
        if aside.exists() and not folder.exists():
            aside.replace(folder)
        raise
    finally:
        for leftover in (temporary, aside):
            remove(leftover)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and goes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        if not path.exists():  # else whoever made that file has decided who reads it
            _readable(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, in order of name.

    Hidden files and what lies in hidden folders are left out: a killed process may have left some.
    """
    total = hashlib.sha256()
    for name in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        if any(part.startswith(".") for part in name.parts):
            continue
        with (folder / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{name.as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def digest_values(values: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
