"""Weights that training starts from: where they come from, what is taken of them, and what is refused."""

from __future__ import annotations

import functools
import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from components.config import AugmentConfig, ConfigurationError, MembersConfig, NetworkConfig, TrainingConfig
from components.models import pretrained, weights
from components.models.weights import Published, digest, locate, pinned, problems
from components.training.jobs.members import member_jobs
from tests.components.models.models_builders import OUTPUTS, compact, images, network, saved, spec

MOBILENET = NetworkConfig(name="torchvision:mobilenet_v2", arguments={"width_mult": 0.25})


def imagenet_like(folder: Path) -> Path:
    """A file as torchvision publishes it: 1000 classes, three channels."""
    torch.manual_seed(5)
    theirs = models.mobilenet_v2(width_mult=0.25)
    path = folder / "mobilenet.pth"
    torch.save(theirs.state_dict(), path)
    return path


def load(config: NetworkConfig, source: str, inputs: Any = None) -> tuple[nn.Module, pretrained.Loaded]:
    config = config.model_copy(update={"pretrained": source})
    built = network(config, inputs or spec(32, 32, 3))
    loaded = pretrained.load(built, config, inputs or spec(32, 32, 3))
    assert isinstance(loaded, pretrained.Loaded)
    return built, loaded


def test_a_librarys_file_is_taken_but_for_the_head_of_other_classes(tmp_path: Path) -> None:
    path = imagenet_like(tmp_path)
    built, loaded = load(MOBILENET, f"file:{path}")
    given = torch.load(path, weights_only=True)
    state = built.state_dict()
    fresh = network(MOBILENET, spec(32, 32, 3)).state_dict()
    for name, value in given.items():
        if not name.startswith("classifier."):
            assert torch.equal(state[f"body.{name}"], value), name
    assert torch.equal(state["head.weight"], fresh["head.weight"])
    assert loaded.share == 1.0
    assert set(loaded.fresh) == {"head.weight", "head.bias", "normalize.mean", "normalize.std"}
    assert loaded.left == ("classifier.1.bias", "classifier.1.weight")
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "100% of the features" in str(loaded)
    assert "head fresh" in str(loaded)


def test_a_head_of_as_many_classes_is_taken_too(tmp_path: Path) -> None:
    path = imagenet_like(tmp_path)
    config = MOBILENET.model_copy(update={"pretrained": f"file:{path}"})
    from components.models import registry

    built = registry.build(config, spec(32, 32, 3), 1000)
    assert pretrained.load(built, config, spec(32, 32, 3)).left == ()  # type: ignore[union-attr]
    given = torch.load(path, weights_only=True)
    assert torch.equal(built.head.weight, given["classifier.1.weight"])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_the_first_convolution_answers_a_grey_image_as_before(tmp_path: Path, channels: int) -> None:
    path = imagenet_like(tmp_path)
    colour, _ = load(MOBILENET, f"file:{path}")
    other, loaded = load(MOBILENET, f"file:{path}", spec(32, 32, channels))
    assert loaded.adapted == ("body.features.0.0.weight",)
    assert loaded.share == 1.0
    grey = images(spec(32, 32, 1))
    with torch.inference_mode():
        expected = colour.eval().features(grey.expand(-1, 3, -1, -1))
        found = other.eval().features(grey.expand(-1, channels, -1, -1))
    if channels == 1:
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    else:  # as many of the three kernels as there are channels, scaled: nearly so
        kernel = other.get_parameter("body.features.0.0.weight")
        source = colour.get_parameter("body.features.0.0.weight")
        repeated = source.repeat(1, 2, 1, 1)[:, :channels] * 3 / channels
        torch.testing.assert_close(kernel, repeated)


def test_an_earlier_models_folder_is_taken_and_the_datas_own_statistics_are_kept(tmp_path: Path) -> None:
    config = compact("residual")
    before = network(config, spec(), seed=3)
    model = saved(tmp_path / "model", config, before, spec())
    other = spec().model_copy(update={"mean": (0.7,), "std": (0.1,)})
    built, loaded = load(config, f"model:{model.folder}", other)
    assert torch.equal(built.head.weight, before.head.weight)
    assert float(built.get_buffer("features.0.mean")) == pytest.approx(0.7)
    assert loaded.share == 1.0
    with_attention, loaded = load(compact("residual", attention="se"), f"model:{model.folder}")
    assert 0.5 < loaded.share < 1.0
    assert all(".body.2." in name for name in loaded.fresh if not name.startswith("features.0."))
    assert with_attention(images(spec(32, 32, 3))).shape == (3, OUTPUTS)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (compact("densenet"), r"and 0% do; in the file alone: .*in the network alone: features"),
        (NetworkConfig(name="residual", arguments={"width": 16}), r"of another shape: .* instead of \(16, 1, 3, 3\)"),
    ],
)
def test_a_file_of_another_network_is_an_error_and_not_a_start_from_scratch(
    tmp_path: Path, config: NetworkConfig, says: str
) -> None:
    model = saved(tmp_path / "model", compact("residual"), network(compact("residual")), spec())
    with pytest.raises(ConfigurationError, match=says):
        load(config, f"file:{model.weights}", spec())


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.pth", b"no weights"), ("a.safetensors", b"no weights"), ("a.pth", b""), ("b.pth", None), ("c.pth", {"x": 1})],
)
def test_what_is_no_file_of_weights_is_refused_by_its_name(tmp_path: Path, name: str, content: Any) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(nn.Linear(2, 2) if content is None else content, path)  # the first would run code when read
    with pytest.raises(ConfigurationError, match=f"pretrained: expected .* in .*{name}"):
        pretrained.read(path)


def test_checkpoints_that_wrap_their_weights_are_unwrapped(tmp_path: Path) -> None:
    values: dict[str, Tensor] = {"module.a": torch.ones(2), "module.b": torch.zeros(3)}
    torch.save({"state_dict": values, "epoch": 7}, tmp_path / "a.pth")
    save_file({"a": torch.ones(2), "b": torch.zeros(3)}, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        assert pretrained.read(tmp_path / name).keys() == {"a", "b"}


def test_densenets_old_names_are_understood() -> None:
    built = network(NetworkConfig(name="torchvision:densenet121"), spec(32, 32, 3))
    theirs = models.densenet121().state_dict()
    old = {}
    for name, value in theirs.items():
        old[re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name)] = value
    assert old.keys() != theirs.keys()
    assert pretrained.fill(built, old, "old", "").share == 1.0


# -- where they are ------------------------------------------------------------------------------------------------


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    config = NetworkConfig(name="residual", pretrained=f"file:{path}")
    for content in (b"first", b"second!"):
        path.write_bytes(content)
        assert digest(config) == hashlib.sha256(content).hexdigest()
    assert digest(NetworkConfig(name="residual")) is None


def test_pinned_weights_are_held_to_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.pth").write_bytes(b"first")
    config = pinned(NetworkConfig(name="residual", pretrained="file:w.pth"), no_runs)
    assert config.pretrained == f"file:{tmp_path / 'w.pth'}#sha256={hashlib.sha256(b'first').hexdigest()}"
    assert pinned(config, no_runs) == config
    assert locate(config) == tmp_path / "w.pth"
    Path("w.pth").write_bytes(b"other")
    with pytest.raises(ConfigurationError, match="it has changed"):
        locate(config)


def test_what_is_keyed_by_weights_is_keyed_by_their_content_and_not_by_their_place(tmp_path: Path) -> None:
    def keys(place: str, content: bytes) -> tuple[str, str]:
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "w.pth").write_bytes(content)
        config = pinned(NetworkConfig(name="residual", pretrained=f"file:{tmp_path / place / 'w.pth'}"), no_runs)
        members = MembersConfig(networks=(config,), epochs=1)
        (job, *_) = member_jobs(members, "classification", TrainingConfig(), AugmentConfig(), seed=0)
        assert job.network.pretrained == config.pretrained  # training itself is told the place
        return members.digest(), job.fingerprint("data")

    here = keys("here", b"the same")
    assert keys("moved", b"the same") == here
    assert not set(keys("here", b"others")) & set(here)


def no_runs(run_id: str) -> Path:
    raise AssertionError(f"nobody asked for {run_id}")


def test_a_run_is_pinned_to_its_model(tmp_path: Path) -> None:
    config = compact("residual")
    for name in ("member-0", "member-1"):
        saved(tmp_path / "models" / name, config, network(config, seed=len(name)), spec())

    def folder(run_id: str) -> Path:
        assert run_id == "abc"
        return tmp_path / "models"

    asked = config.model_copy(update={"pretrained": "run:abc/member-1"})
    found = pinned(asked, folder)
    assert str(found.pretrained).startswith(f"model:{tmp_path / 'models' / 'member-1'}#sha256=")
    assert pretrained.load(network(found), found, spec()).share == 1.0  # type: ignore[union-attr]
    for wrong, says in (("run:abc", "member-0, member-1"), ("run:abc/member-7", "received 'member-7'")):
        with pytest.raises(ConfigurationError, match=says):
            pinned(config.model_copy(update={"pretrained": wrong}), folder)
    with pytest.raises(ConfigurationError, match="expected the run's folder in place of 'run:abc/member-1'"):
        locate(asked)


@pytest.mark.parametrize("value", ["imagnet", "file:", "http://x/y", "file:a#sha256=12", ""])
def test_other_words_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="pretrained"):
        NetworkConfig(name="residual", pretrained=value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("residual", "imagenet", "expected torchvision or timm to publish weights of this network"),
        ("residual", "file:nowhere.pth", "expected a file of weights that exists, received 'file:nowhere.pth'"),
        ("residual", "model:nowhere", r"expected the folder of a Model with model\.safetensors"),
        ("timm:test_resnet", None, None),
        ("resnet18", "imagenet", None),
        ("timm:resnet18.a1_in1k", "imagenet", None),
    ],
)
def test_what_can_be_known_early_is_said_early(name: str, value: str | None, says: str | None) -> None:
    found = problems(NetworkConfig(name=name, pretrained=value), "line.student.network")
    if says is None:
        assert found == []
    else:
        (problem,) = found
        with pytest.raises(AssertionError, match=says):
            raise AssertionError(problem)


# -- by name -------------------------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror's folder with a file that is named as torchvision names its own, after its content."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    path = imagenet_like(folder)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    name = f"mobilenet_v2-{sha[:8]}.pth"
    path.rename(folder / name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        weights, "published", lambda config: Published(name, url=f"http://127.0.0.1:9/{name}", sha256=sha[:8])
    )
    return folder / name


@pytest.fixture
def server(published: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(published.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_weights_by_name_come_from_a_mirrors_folder(
    published: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOY_WEIGHTS", f"{scheme}{published.parent}")
    _, loaded = load(MOBILENET, "imagenet")
    assert loaded.share == 1.0


def test_weights_by_name_are_downloaded_once(published: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOY_WEIGHTS", server)
    _, loaded = load(MOBILENET, "imagenet")
    assert loaded.share == 1.0
    config = MOBILENET.model_copy(update={"pretrained": "imagenet"})
    expected = hashlib.sha256(published.read_bytes()).hexdigest()
    published.unlink()
    assert digest(config) == expected  # found in the cache
    assert str(pinned(config, no_runs).pretrained).endswith(expected)


def test_a_download_that_is_not_what_was_published_is_refused(
    published: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.write_bytes(b"something else")
    for mirror, says in ((server, "invalid hash value"), (str(published.parent), "not the file that was published")):
        monkeypatch.setenv("CONVOY_WEIGHTS", mirror)
        with pytest.raises(ConfigurationError, match=says):
            load(MOBILENET, "imagenet")
    assert not list((tmp_path / "cache").rglob("*.pth"))


def test_where_there_is_no_network_the_way_out_is_named(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVOY_WEIGHTS", raising=False)
    with pytest.raises(ConfigurationError, match=f"set CONVOY_WEIGHTS to a folder with {published.name}"):
        load(MOBILENET, "imagenet")
    monkeypatch.setenv("CONVOY_WEIGHTS", str(published.parent / "elsewhere"))
    with pytest.raises(ConfigurationError, match=r"expected a copy of it below CONVOY_WEIGHTS=.*is not there"):
        load(MOBILENET, "imagenet")


def test_the_libraries_say_where_their_weights_are() -> None:
    found = weights.published(NetworkConfig(name="mobilenet_v2"))
    assert found is not None
    assert found.url == f"https://download.pytorch.org/models/{found.path}"
    assert found.sha256
    assert found.sha256 in found.path
    timm = weights.published(NetworkConfig(name="timm:resnet18.a1_in1k"))
    assert timm == Published("timm/resnet18.a1_in1k/model.safetensors", repository="timm/resnet18.a1_in1k")
    assert weights.published(NetworkConfig(name="residual")) is None
