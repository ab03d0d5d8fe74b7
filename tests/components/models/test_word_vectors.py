"""Word vectors from a file: what is taken, what stays as it was, what is refused and where; trained, frozen or both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from components.artifacts import ImageSpec, TextSpec
from components.config import AugmentConfig, ConfigurationError, MembersConfig, NetworkConfig, TrainingConfig
from components.models import pretrained, registry, word_vectors
from components.models.parts.tables import tables
from components.models.weights import digest, locate, pinned, problems
from components.training.jobs.members import member_jobs
from components.training.optimizing.transfer import problems as transfer_problems

UNITS = ("the", "Rome", "Übung", "don't", "unseen")
SPEC = TextSpec(kind="text", unit="word", length=12, lower=False, vocabulary=UNITS)
VECTORS = {"the": (1, 2, 3), "rome": (4, 5, 6), "Übung": (7, 8, 9), "übung": (0, 0, 0), "other": (1, 1, 1)}
FAMILIES = ("textcnn", "idcnn")


def no_runs(run_id: str) -> Path:
    raise AssertionError(f"nobody asked for {run_id}")


def lines(vectors: dict[str, tuple[float, ...]] = VECTORS) -> str:
    return "".join(f"{word} {' '.join(map(str, vector))}\n" for word, vector in vectors.items())


def as_text(folder: Path, content: str | bytes, name: str = "v.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def as_array(folder: Path, vectors: dict[str, tuple[float, ...]] = VECTORS, kind: str = "float32") -> Path:
    np.save(folder / "v.npy", np.array([*vectors.values()], dtype=kind))
    as_text(folder, "".join(f"{word}\n" for word in vectors))
    return folder / "v.npy"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "glove": lambda folder: as_text(folder, lines()),
    "word2vec": lambda folder: as_text(folder, "5 3\n" + lines()),
    "blanks at the ends": lambda folder: as_text(folder, lines().replace("\n", " \r\n")),
    "mark": lambda folder: as_text(folder, "\ufeff" + lines()),
    "array": as_array,
    "half": lambda folder: as_array(folder, kind="float16"),
    "double": lambda folder: as_array(folder, kind="float64"),
}


def built(name: str, path: Path, **arguments: Any) -> tuple[nn.Module, pretrained.Words]:
    config = NetworkConfig(name=name, arguments={"dimension": 3, "width": 4, **arguments}, pretrained=f"vectors:{path}")
    torch.manual_seed(0)
    network = registry.build(config, SPEC, 2)
    loaded = pretrained.load(network, config, SPEC)
    assert isinstance(loaded, pretrained.Words)
    return network, loaded


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("written", WRITERS)
def test_words_of_the_vocabulary_have_the_files_vectors_and_all_else_is_as_it_was(
    written: str, name: str, tmp_path: Path
) -> None:
    path = WRITERS[written](tmp_path)
    network, loaded = built(name, path)
    torch.manual_seed(0)
    fresh = registry.build(NetworkConfig(name=name, arguments={"dimension": 3, "width": 4}), SPEC, 2).state_dict()
    table = network.state_dict()["embedding.weight"]
    assert table[2:5].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]  # exact, in lower case, exact before lower case
    for number in (0, 1, 5, 6):  # padding, unknown, and what the file has not
        assert torch.equal(table[number], fresh["embedding.weight"][number])
    for key, value in network.state_dict().items():
        assert key == "embedding.weight" or torch.equal(value, fresh[key]), key
    assert (loaded.found, loaded.units) == (3, 5)
    assert "vectors of 3 of 5 units (60%)" in str(loaded) and loaded.sha256[:12] in str(loaded)


@pytest.mark.parametrize("name", FAMILIES)
def test_trained_vectors_move_and_frozen_ones_do_not(name: str, tmp_path: Path) -> None:
    path = as_text(tmp_path, lines())
    for vectors, moving, staying in (
        ("trained", ["embedding"], []),
        ("frozen", [], ["embedding"]),
        ("both", ["embedding"], ["frozen"]),
    ):
        network, _ = built(name, path, vectors=vectors, dropout=0.0)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        assert len(tables(network, SPEC.numbers)) == len(moving) + len(staying)
        for each in [*moving, *staying]:
            assert before[f"{each}.weight"][2].tolist() == [1, 2, 3]
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
        for parameter in network.parameters():  # what thaws a network thaws all of them
            parameter.requires_grad_(True)
        network(torch.tensor([[2, 3, 4, 0], [5, 6, 1, 0]])).square().sum().backward()
        optimizer.step()
        after = network.state_dict()
        for each in moving:
            assert not torch.equal(after[f"{each}.weight"][2:], before[f"{each}.weight"][2:]), (vectors, each)
        for each in staying:
            assert torch.equal(after[f"{each}.weight"], before[f"{each}.weight"]), (vectors, each)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_of_two_channels_is_part_of_the_answer(name: str, tmp_path: Path) -> None:
    network, _ = built(name, as_text(tmp_path, lines()), vectors="both")
    shown = torch.tensor([[2, 3, 4, 5, 2, 3]])
    with torch.inference_mode():
        before = network.eval()(shown).clone()
        for each in tables(network, SPEC.numbers):
            kept = each.clone()
            each[2:] += 1.0
            assert not torch.allclose(network(shown), before)
            each.copy_(kept)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_that_says_nothing_of_vectors_begins_as_it_always_did(name: str) -> None:
    """The numbers that a seed gave before there was the argument; summed, since rounding is the processor's own."""
    torch.manual_seed(0)
    network = registry.build(NetworkConfig(name=name, arguments={"dimension": 8, "width": 8}), SPEC, 2)
    torch.manual_seed(0)
    table = nn.Embedding(SPEC.numbers, 8, padding_idx=0)
    nn.init.uniform_(table.weight, -0.25, 0.25)
    first = nn.Conv1d(8, 8, 3, padding=1)
    state = network.state_dict()
    assert torch.equal(state["embedding.weight"][1:], table.weight[1:]) and not state["embedding.weight"][0].any()
    assert torch.equal(state["filters.0.weight" if name == "textcnn" else "first.weight"], first.weight)
    assert "frozen.weight" not in state


def test_words_with_blanks_inside_are_passed_over_and_of_two_the_first_counts(tmp_path: Path) -> None:
    path = as_text(tmp_path, "a 1 2\n. . . 3 4\nthe 5 6\nthe 7 8\n\n")
    found = word_vectors.read(path, ("the", "a"))
    assert found.places.tolist() == [0, 1] and found.vectors.tolist() == [[5, 6], [1, 2]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", r"in line 1 of .*v\.txt, received nothing"),
        ("\x1f\x8b\x08\x00rubbish", r"expected a word and its vector, with blanks between in line 1"),
        ("the one two\n", "expected numbers behind a word in line 1 of .*, received 'one two'"),
        (lines() + "Rome 1 2\n", "expected a word and 3 numbers in line 6 of .*, received 3 fields"),
        (lines() + "Rome 1 2 x\n", "expected numbers behind a word in line 6 of .*, received '1 2 x'"),
        ("other 1 1 1\n" * 3 + "the 1 nan 2\n", "expected finite numbers in line 4"),
        ("the 1 1e39 2\n", "expected finite numbers in line 1"),
        ("6 3\n" + lines(), "expected 6 words in .*, as its first line says, found 5: is it whole"),
        ("5 4\n" + lines(), "expected a word and 4 numbers, as the first line says in line 2"),
        ("99999999 300\n" + lines(), "that fit into the file in line 1 of .*, received '99999999 300'"),
        ("5 0\n" + lines(), "that fit into the file in line 1"),
        ("the " + "1" * 2**20 + "\n", "expected lines of at most 1,048,576 bytes in line 1"),
        ("nobody 1 2 3\n", r"found none of the 5 in the vocabulary \('the', 'Rome', 'Übung' and 2 more\)"),
        ("the 1 2\n", "expected vectors of 3 numbers, as the network has them, received such of 2"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_file_of_vectors_is_refused_with_its_line(content: str, says: str, tmp_path: Path) -> None:
    path = as_text(tmp_path, content.encode("latin-1") if content[:1] == "\x1f" else content)
    with pytest.raises(ConfigurationError, match=f"pretrained: .*{says}"):
        built("textcnn", path)


def unlike(shape: tuple[int, ...], kind: str = "float32") -> bytes:
    """An array's header that states so much, and a few bytes of it."""
    import io

    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape})
    return file.getvalue() + b"\0" * 60


def headed(header: str) -> bytes:
    """An array whose header says that, and a few bytes of it."""
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 8


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no array", "expected word vectors in .*v.npy: .*magic"),
        (b"", "expected word vectors in .*v.npy"),
        (unlike((10**12, 300)), "its header states .* bytes, not 60"),
        (unlike((5, 2)), "its header states .* 40 bytes, not 60"),
        (unlike((5, 3), "int32"), "floating-point numbers .* are meant, and it has int32"),
        (unlike((15,)), r"are meant, and it has float32 \(15,\)"),
        (unlike((-5, -3)), "are meant"),
        (headed("{'a': ("), "its header cannot be read: .*EOF"),
        (headed("{'descr': (), 'fortran_order': False, 'shape': (1, 2)}"), "its header cannot be read: tuple index"),
        (headed("-" * 9000 + "1"), "its header cannot be read: MemoryError"),
        (headed("1" + "+1" * 4500), "its header cannot be read: .*recursion"),
        (unlike((4, 3))[:-12], "expected a word for each of the 4 rows of .*v.npy in .*v.txt, .* found 5 lines"),
    ],
    ids=lambda value: repr(value)[-30:],
)
def test_what_is_no_array_of_vectors_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    as_array(tmp_path)
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(ConfigurationError, match=says):
        built("textcnn", tmp_path / "v.npy")


def test_objects_in_an_array_are_never_read(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.write_text, (tmp_path / "harm", "done"))

    as_array(tmp_path)
    np.save(tmp_path / "v.npy", np.array([[Harm()]], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigurationError, match="floating-point numbers"):
        built("textcnn", tmp_path / "v.npy")
    assert not (tmp_path / "harm").exists()


def test_rows_that_are_not_finite_are_refused_where_they_are_asked_for(tmp_path: Path) -> None:
    path = as_array(tmp_path, {"nobody": (np.inf, 0, 0), "the": (1, 2, 3)})
    assert built("textcnn", path)[1].found == 1
    path = as_array(tmp_path, {"nobody": (0, 0, 0), "the": (1, np.nan, 3)})
    with pytest.raises(ConfigurationError, match="expected finite numbers in row 1"):
        built("textcnn", path)


# -- what is keyed, and what is said early -------------------------------------------------------------------------


@pytest.mark.parametrize("changed", ["v.npy", "v.txt"])
def test_what_is_keyed_by_vectors_is_keyed_by_their_content_and_not_by_their_place(
    changed: str, tmp_path: Path
) -> None:
    def keys(place: str, *, other: bool = False) -> tuple[str, str]:
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        as_array(folder)
        if other:
            content = (folder / changed).read_bytes()
            (folder / changed).write_bytes(content[:-2] + b"?" + content[-1:])
        config = pinned(NetworkConfig(name="textcnn", pretrained=f"vectors:{folder / 'v.npy'}"), no_runs)
        assert str(config.pretrained).startswith(f"vectors:{folder.resolve() / 'v.npy'}#sha256=")
        assert pinned(config, no_runs) == config
        assert str(config.pretrained).endswith(str(digest(config)))
        members = MembersConfig(networks=(config,), epochs=1)
        (job, *_) = member_jobs(members, "classification", TrainingConfig(), AugmentConfig(), seed=0)
        return members.digest(), job.fingerprint("data")

    here = keys("here")
    assert keys("moved") == here
    assert not set(keys("here", other=True)) & set(here)
    config = NetworkConfig(name="textcnn", pretrained=f"vectors:{tmp_path / 'moved' / 'v.npy'}")
    kept = pinned(config, no_runs)
    (tmp_path / "moved" / changed).write_bytes(b"other")
    with pytest.raises(ConfigurationError, match="it has changed"):
        locate(kept)


def test_a_text_file_is_known_by_its_own_sha256(tmp_path: Path) -> None:
    path = as_text(tmp_path, lines())
    assert (
        digest(NetworkConfig(name="textcnn", pretrained=f"vectors:{path}"))
        == hashlib.sha256(path.read_bytes()).hexdigest()
    )


def test_what_can_be_known_early_is_said_early(tmp_path: Path) -> None:
    def said(name: str = "textcnn", source: Path | None = None, **arguments: Any) -> str:
        place = f"vectors:{source or tmp_path / 'v.npy'}"
        return "\n".join(problems(NetworkConfig(name=name, arguments=arguments, pretrained=place), "student.network"))

    assert "and " + str(tmp_path / "v.npy") + " is not there" in said(dimension=3)
    as_array(tmp_path)
    assert said(dimension=3) == "" == said("idcnn", dimension=3)
    assert said() == (
        f"student.network.arguments.dimension: expected 3, as the vectors in {tmp_path / 'v.npy'} have it, received 64"
    )
    for name in ("residual", "torchvision:resnet18"):
        assert "expected a network for texts" in said(name)
    wrong = as_text(tmp_path, "one\n", "w.txt")
    assert said(source=wrong).startswith("student.network.pretrained: expected a word and its vector")
    (tmp_path / "v.txt").unlink()
    assert str(tmp_path / "v.txt") + " is not there" in said(dimension=3)


def test_vectors_are_for_texts_of_units_that_have_names(tmp_path: Path) -> None:
    path = as_text(tmp_path, lines())
    config = NetworkConfig(name="textcnn", arguments={"dimension": 3}, pretrained=f"vectors:{path}")
    bytes_ = SPEC.model_copy(update={"unit": "byte", "vocabulary": ()})
    image = ImageSpec(height=8, width=8, channels=1, mean=(0.5,), std=(0.5,))
    for inputs in (bytes_, image):
        with pytest.raises(ConfigurationError, match="expected texts of words or characters"):
            pretrained.load(registry.build(config, SPEC, 2), config, inputs)


def test_all_but_the_vectors_is_random_so_nothing_is_frozen_or_averaged_by_them() -> None:
    training = TrainingConfig.model_validate({"transfer": {"freeze": "features"}})
    for source, refused in (("vectors:v.txt", True), ("file:v.pth", False)):
        network = NetworkConfig(name="textcnn", pretrained=source)
        assert bool(transfer_problems(training.transfer, {"student": network})) is refused
        assert network.begins_trained is not refused
