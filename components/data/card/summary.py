"""What a prepared data set holds, counted shard by shard, and what is known of how it came about; no input is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from components import offered
from components.artifacts import SPLITS, Dataset
from components.config import ConfigurationError, DatasetConfig, YamlError, dataset_entry, parse_entry, read_yaml
from components.data import places, versions
from components.data.card.views.protocol import View
from components.data.card.views.registry import of_kind
from components.data.errors import DataError, check_name
from components.data.inspection.base.findings import SCHEMA, Inspection, load_findings
from components.data.versions.repository import lock_file, locked_digest
from components.targets import registry as targets

if TYPE_CHECKING:
    from components.data.validation.validate import ValidationReport

MISSING = "missing"  # the value of a group that a sample has not


@dataclass
class Counts:
    """Samples by part (class, or range of a value), group and split; a mask counts for every class that it shows."""

    inputs: View
    parts: dict[str, Counter[str]] = field(default_factory=dict)  # → split → samples
    groups: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)  # column → value → split → samples


@dataclass(frozen=True)
class Summary:
    """Everything the card of a data set tells."""

    root: Path
    dataset: Dataset
    config: DatasetConfig
    entry: Mapping[str, Any]  # as params.yaml has it
    counts: Counts
    inspection: Inspection | None  # None: it has not been inspected
    findings: pa.Table
    report: ValidationReport | None  # None: it has not been validated
    changed: bool  # params.yaml says something else now than what the data was made by

    @property
    def name(self) -> str:
        return self.dataset.card.name

    @property
    def inspected(self) -> Path:
        """Where the inspection's sheets are."""
        return places.inspected(self.root, self.name)

    @property
    def validated(self) -> Path:
        """Where the expectations' page is."""
        return places.validated(self.root, self.name)


def summarise(root: Path, name: str) -> Summary:
    """All that is known of the data set; raises DataError with the command that makes it where it is not prepared."""
    from components.data.validation.validate import ValidationReport  # with the tasks, and so PyTorch

    config = dataset_entry(root, check_name(name))
    folder = places.prepared(root, name)
    if not (folder / "dataset.json").is_file():
        raise DataError(
            f"{name}: expected prepared data in {folder}, received none; "
            f"`{offered.command('dvc', 'repro', f'validate@{name}')}` makes it, and so does a run: "
            f"`{offered.command('convoy', 'run', '-S', f'dataset={name}', '-S', f'model={name}')}`"
        )
    dataset = Dataset.load(folder, _digest(root, name))
    inspected, validated = places.inspected(root, name), places.validated(root, name)
    looked = (inspected / "inspection.json").is_file()
    entry = _entries(root)[name]
    return Summary(
        root=root,
        dataset=dataset,
        config=config,
        entry=entry,
        counts=count(dataset),
        inspection=Inspection.load(inspected) if looked else None,
        findings=load_findings(inspected) if looked else SCHEMA.empty_table(),
        report=ValidationReport.load(validated) if (validated / "validation.json").is_file() else None,
        changed=_made_by(lock_file(root), name) not in (None, entry),
    )


def count(dataset: Dataset) -> Counts:
    """Count the splits' rows, a shard at a time."""
    card = dataset.card
    result = Counts(
        of_kind(card.input.kind)(),
        parts={name: Counter() for name in targets.of(dataset).parts(card)},
        groups={group: {} for group in card.groups},
    )
    for split in SPLITS:
        for shard in dataset.shards(split):
            table = pq.read_table(shard, columns=["target", *result.inputs.columns, *card.groups])
            _count(result, table, split, dataset)
    return result


def _count(result: Counts, table: pa.Table, split: str, dataset: Dataset) -> None:
    names = tuple(result.parts)
    shown = targets.of(dataset).parted(table.column("target").combine_chunks(), dataset.card)
    for name, samples in zip(names, shown.counts(len(names)).tolist(), strict=True):
        result.parts[name][split] += samples
    for group, values in result.groups.items():
        for value, samples in Counter(table.column(group).to_pylist()).items():
            values.setdefault(value or MISSING, Counter())[split] += samples
    result.inputs.count(table, split)


# -- the catalogue ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """One entry of the catalogue, and how far it is."""

    name: str
    task: str
    kind: str
    state: str  # in words
    digest: str | None
    samples: int | None


def catalogue(root: Path) -> list[Listed]:
    """Every entry of params.yaml, in its order; one that is wrong says so."""
    lock = cache(partial(lock_file, root))  # read once, and where something is prepared
    return [_listed(root, name, entry, lock) for name, entry in _entries(root).items()]


def _listed(root: Path, name: str, entry: Any, lock: Callable[[], Mapping[str, Any]]) -> Listed:
    try:
        config = parse_entry(check_name(name), entry)
    except (ConfigurationError, DataError) as error:
        return Listed(name, "–", "–", f"wrong: {str(error).splitlines()[0]}", None, None)
    folder = places.prepared(root, name)
    if not (folder / "dataset.json").is_file():
        return Listed(name, config.task, config.source.kind, "not prepared", None, None)
    card = Dataset.load(folder, "").card
    state = "prepared"
    failed = places.error_file(root, name)
    if _made_by(lock(), name) not in (None, entry):
        state = "changed since in params.yaml"
    elif failed.is_file():
        state = f"{failed.read_text(encoding='utf-8').split(maxsplit=1)[0]} failed"
    digest = locked_digest(lock(), name)  # None: made without DVC
    return Listed(name, config.task, config.source.kind, state, digest, sum(card.splits.values()))


def _entries(root: Path) -> Mapping[str, Any]:
    """`datasets:` as it is written."""
    try:
        content = read_yaml((root / "params.yaml").read_bytes())
    except (OSError, YamlError) as error:
        raise ConfigurationError(f"{root / 'params.yaml'}: not readable as YAML: {error}") from None
    entries = content.get("datasets") if isinstance(content, dict) else None
    return {str(name): entry for name, entry in entries.items()} if isinstance(entries, dict) else {}


def _digest(root: Path, name: str) -> str | None:
    try:
        return versions.digest(root, name)
    except DataError:
        return None  # made without DVC


def _made_by(lock: Mapping[str, Any], name: str) -> Any:
    """The entry that dvc.lock says the data was prepared by; None where it says nothing."""
    stage = lock.get(f"prepare@{name}") or {}
    return stage.get("params", {}).get("params.yaml", {}).get(f"datasets.{name}")
