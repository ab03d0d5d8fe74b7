"""Versions of small data sets in a DVC cache of their own, without the stages that make them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from dvc.repo import Repo

from components.artifacts import DatasetCard, ImageSpec
from components.data.preparing.shards import ShardWriter
from components.files import replacing

NAME = "pets"


@dataclass(frozen=True)
class Sample:
    """One row of a prepared data set; `picture` stands for the pixels."""

    id: str
    target: Any = 0  # a class's number, or the bytes of a mask
    split: str = "train"
    picture: str = "a picture"
    groups: dict[str, str | None] = field(default_factory=dict)


def new_project(root: Path) -> Path:
    """A DVC repository without git or stages, whose default remote is a folder beside it."""
    root.mkdir(parents=True, exist_ok=True)
    Repo.init(str(root), no_scm=True).close()
    remote = root.parent / f"{root.name}-remote"
    (root / ".dvc" / "config").write_text(
        f'[core]\n    no_scm = true\n    analytics = false\n    remote = local\n[cache]\n    type = "reflink,copy"\n'
        f"['remote \"local\"']\n    url = {remote}\n",
        encoding="utf-8",
    )
    return root


def write_version(
    folder: Path,
    samples: list[Sample],
    classes: tuple[str, ...] = ("cat", "dog"),
    name: str = NAME,
    size: int = 8,
    target: dict[str, Any] | None = None,
) -> Path:
    """A prepared folder as `prepare` lays it out, with images of random-looking bytes."""
    groups = tuple(sorted({group for sample in samples for group in sample.groups}))
    mask = any(isinstance(sample.target, bytes) for sample in samples)
    columns = pa.schema(
        [
            ("id", pa.string()),
            ("image", pa.binary()),
            ("target", pa.binary() if mask else pa.int64()),
            *[(group, pa.string()) for group in groups],
            ("split", pa.string()),
            ("pixels_sha256", pa.string()),
        ]
    )
    splits = ("train", "validation", "test", *({"dropped"} & {sample.split for sample in samples}))
    card = DatasetCard(
        name=name,
        task="segmentation" if mask else "classification",
        classes=classes,
        groups=groups,
        target=target or {},
        input=ImageSpec(height=size, width=size, channels=1, mean=(0.5,), std=(0.5,)),
        splits={split: sum(sample.split == split for sample in samples) for split in splits[:3]},
        fingerprint="0" * 64,
    )
    with replacing(folder) as temporary:
        for split in splits:
            rows = [sample for sample in samples if sample.split == split]
            pictures = [hashlib.sha256(sample.picture.encode()) for sample in rows]
            with ShardWriter(temporary, split, columns, "image") as writer:
                writer.add(
                    pa.table(
                        {
                            "id": [sample.id for sample in rows],
                            "image": [picture.digest() * 100 for picture in pictures],
                            "target": [sample.target for sample in rows],
                            **{group: [sample.groups.get(group) for sample in rows] for group in groups},
                            "split": [sample.split for sample in rows],
                            "pixels_sha256": [picture.hexdigest() for picture in pictures],
                        },
                        schema=columns,
                    )
                )
        (temporary / "dataset.json").write_text(card.to_json(), encoding="utf-8")
    return folder


def keep(root: Path, name: str = NAME) -> str:
    """What `.convoy/data/prepared/NAME` holds, into DVC's cache; its digest."""
    repo = Repo(str(root))
    try:
        stage = repo.add(str(root / ".convoy" / "data" / "prepared" / name))[0]
        return str(stage.outs[0].hash_info.value)
    finally:
        repo.close()


def keep_version(root: Path, samples: list[Sample], name: str = NAME, **about: Any) -> str:
    """Write a version into `.convoy/data/prepared/NAME` and into DVC's cache; its digest."""
    write_version(root / ".convoy" / "data" / "prepared" / name, samples, name=name, **about)
    return keep(root, name)
