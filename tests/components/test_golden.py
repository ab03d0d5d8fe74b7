"""What must come out as it always did, bit for bit: prepared data, the networks trained on it, their answers.

Arithmetic differs between kinds of processor, so trained digests are kept for each; on one that is not known the tests
of training skip, and `python -m tests.components.test_golden` adds its digests. A digest is changed on purpose only,
and the changelog says so: whoever has trained a network does not get the same one again.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import yaml

from components import machine
from components.artifacts import Dataset, Model, ModelCard, Predictions, write_model
from components.config import load
from components.data import places
from components.data.reading.loading import load_split
from components.data.stages import stages
from components.evaluate.predict import predict
from components.files import digest_folder, digest_values
from components.models.network import save_weights
from components.training.jobs.members import member_jobs
from components.training.loop.loop import train
from components.training.loop.surroundings import Data

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("golden.json")
NAMES = ("digits", "digits-segment")  # recipes that need no download; each is called as its data
SAMPLES = 128  # of the training split, whose epoch takes a second or two


def processor() -> str:
    """What float32 comes out by; how many cores there are is no part of it, since one thread computes."""
    kind = machine.kind()
    return f"{kind['architecture']} {kind['instructions']}"


def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def prepared(name: str, project: Path) -> Dataset:
    """The catalogue's entry, through the data's own stages."""
    entries = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["datasets"]
    (project / "params.yaml").write_text(yaml.safe_dump({"datasets": {name: entries[name]}}), encoding="utf-8")
    for stage in ("watch", "ingest", "inspect", "prepare"):
        stages.run(stage, name, project)
    return Dataset.load(places.prepared(project, name))


@pytest.fixture(scope="module", params=NAMES)
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepared(request.param, tmp_path_factory.mktemp(request.param))


def trained(dataset: Dataset, folder: Path) -> dict[str, str]:
    """One epoch of the recipe's first member on a part of its data: digests of its weights and of its answers."""
    line = load(ROOT, dataset.card.name).line
    members = line.members.model_copy(update={"count": 1, "epochs": 1})
    training = line.training.model_copy(update={"precision": "float32"})
    (job,) = member_jobs(members, dataset.card.task, training, line.augment, seed=line.seed)
    learnt, watched = (load_split(dataset, split, limit=SAMPLES) for split in ("train", "validation"))
    network = train(job, Data(dataset.card, "golden", learnt, watched), folder / "storage")
    card = ModelCard(
        name=job.name,
        task=job.task,
        network=job.network,
        classes=dataset.card.classes,
        input=dataset.card.input,
        data="",
    )
    model = write_model(folder / "model", card, lambda place: save_weights(network, place))
    return {"weights": file_digest(model), "answers": answers_digest(predict(model, dataset, limit=64))}


def file_digest(model: Model) -> str:
    return hashlib.sha256(model.weights.read_bytes()).hexdigest()


def answers_digest(predictions: Predictions) -> str:
    """Of the columns that a task gives, whatever order they lie in."""
    table = predictions.table.combine_chunks()
    return digest_values(
        {name: hashlib.sha256(bytes_of(table[name])).hexdigest() for name in sorted(table.column_names)}
    )


def bytes_of(column: pa.ChunkedArray) -> bytes:
    stream = pa.BufferOutputStream()
    table = pa.table({"column": column})
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return bytes(stream.getvalue().to_pybytes())


def test_prepared_data_is_what_it_was(dataset: Dataset) -> None:
    assert digest_folder(dataset.folder) == golden()["prepared"][dataset.card.name]


@pytest.mark.parametrize("name", [*NAMES, "fashion-mnist"])
def test_the_locked_data_is_what_it_was(name: str) -> None:
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))
    assert lock["stages"][f"prepare@{name}"]["outs"][0]["md5"] == golden()["locked"][name]


def test_a_trained_network_is_what_it_was(dataset: Dataset, tmp_path: Path) -> None:
    known = golden()["trained"].get(processor())
    if known is None:
        pytest.skip(f"no digests are known for {processor()}: python -m tests.components.test_golden adds them")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert trained(dataset, tmp_path) == known[dataset.card.name]
    finally:
        torch.set_num_threads(threads)


def write() -> None:
    """Keep what comes out on this machine."""
    torch.set_num_threads(1)
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    values = golden() if FILE.exists() else {"trained": {}}
    values["locked"] = {name: lock[f"prepare@{name}"]["outs"][0]["md5"] for name in [*NAMES, "fashion-mnist"]}
    values["prepared"], values["trained"][processor()] = {}, {}
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            dataset = prepared(name, Path(folder))
            values["prepared"][name] = digest_folder(dataset.folder)
            values["trained"][processor()][name] = trained(dataset, Path(folder) / "trained")
    FILE.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())  # type: ignore[func-returns-value]
