"""infra/check.py lets the real files pass and stops the mistakes that would open or break an installation."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
Change = Callable[[dict[str, Any]], object]


def module(name: str) -> ModuleType:
    """infra/ is a folder of programs and no package, so they are loaded from their files."""
    specification = importlib.util.spec_from_file_location(f"infra_{name}", INFRA / f"{name}.py")
    assert specification is not None and specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


check, buckets = module("check"), module("buckets")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """infra/ in a folder of its own, with what the image copies beside it."""
    for source in ("components", "flows", "recipes", ".dvc"):
        (tmp_path / source).mkdir()
    files = (".dvc/config", ".dvc/.gitignore", ".dvcignore", "params.yaml", "dvc.yaml", "dvc.lock", "pyproject.toml")
    for name in (*files, "README.md", "LICENSE", "requirements.lock"):
        (tmp_path / name).touch()
    kept_out = shutil.ignore_patterns(".env", "__pycache__")
    shutil.copytree(INFRA, tmp_path / "infra", ignore=kept_out)
    return tmp_path / "infra"


def found(folder: Path, change: Change) -> str:
    """What the check says of compose.yaml after `change`, as one text."""
    path = folder / "compose.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(content["services"])
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return "\n".join(check.problems(folder))


def test_the_real_files_pass_as_ci_runs_them() -> None:
    command = [sys.executable, str(INFRA / "check.py")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "port",
    [
        "5000:5000",
        5000,
        "0.0.0.0:5000:5000",
        "[::]:5000:5000",
        "${CONVOY_BIND:-0.0.0.0}:5000:5000",
        "${CONVOY_BIND}:5000:5000",
        "192.168.0.1:5000:5000",
        {"target": 5000, "published": "5000"},
        {"target": 5000, "published": "5000", "host_ip": "0.0.0.0"},  # noqa: S104
    ],
)
def test_a_port_that_everybody_can_reach_is_refused(copy: Path, port: object) -> None:
    assert "services.mlflow.ports" in found(copy, lambda services: services["mlflow"].update(ports=[port]))


@pytest.mark.parametrize(
    "port", ["127.0.0.1:1:1", "[::1]:1:1", "${CONVOY_BIND:-127.0.0.1}:1:1", {"target": 1, "host_ip": "127.0.0.1"}]
)
def test_a_port_on_loopback_is_allowed(copy: Path, port: object) -> None:
    assert found(copy, lambda services: services["mlflow"].update(ports=[port])) == ""


@pytest.mark.parametrize("key", ["network_mode", "pid", "ipc"])
def test_the_host_s_network_is_refused_as_it_needs_no_ports(copy: Path, key: str) -> None:
    def change(services: dict[str, Any]) -> None:
        services["ray-head"].pop("networks")
        services["ray-head"][key] = "host"

    assert f"services.ray-head.{key}" in found(copy, change)


@pytest.mark.parametrize("value", ["hunter2", "${POSTGRES_PASSWORD:-hunter2}", "${POSTGRES_PASSWORD}", "${A:?}hunter2"])
def test_a_password_that_is_written_down_or_may_be_empty_is_refused(copy: Path, value: str) -> None:
    def change(services: dict[str, Any]) -> None:
        services["postgres"]["environment"]["POSTGRES_PASSWORD"] = value

    assert "services.postgres.environment.POSTGRES_PASSWORD" in found(copy, change)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (".env.example", "POSTGRES_PASSWORD=hunter2"),
        ("databases.sh", "export PGPASSWORD=hunter2"),
        ("databases.sh", "psql -c \"CREATE ROLE mlflow PASSWORD 'hunter2'\""),
        ("README.md", "connect to postgresql://mlflow:hunter2@postgres/mlflow"),
        ("compose.yaml", '# "secretKey": "hunter2"'),
        ("compose.yaml", "# RAY_AUTH_TOKEN: ${RAY_AUTH_TOKEN:-hunter2}"),
        ("compose.yaml", "# user:${RAY_AUTH_TOKEN:-hunter2}"),
        ("Containerfile", "ENV API_KEY=hunter2"),
        ("key.pem", "-----BEGIN PRIVATE KEY-----"),
        ("buckets.py", "S3_ADMIN_SECRET_KEY = 'hunter2'"),
        ("buckets.py", "main(password='hunter2')"),
        ("buckets.py", "ENVIRONMENT = {'PGPASSWORD': 'hunter2'}"),
        ("buckets.py", "def enter(name, password='hunter2'): ..."),
        ("buckets.py", "STORE = 'postgresql://mlflow:hunter2@postgres/mlflow'"),
    ],
)
def test_a_secret_in_any_file_is_refused_with_its_line(copy: Path, name: str, line: str) -> None:
    path = copy / name
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    path.write_text("\n".join([*before, line]) + "\n", encoding="utf-8")

    assert f"{name}:{len(before) + 1}: expected no secret's value" in "\n".join(check.problems(copy))


def test_a_program_may_pass_on_what_it_was_given(copy: Path) -> None:
    path = copy / "buckets.py"
    given = "secret: str = os.environ['SECRET']\nclient(password=secret, secrets={'TOKEN': secret})\nPASSWORD = ''\n"
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{given}", encoding="utf-8")

    assert check.problems(copy) == []


def test_the_operator_s_secrets_must_be_ignored_by_git(copy: Path) -> None:
    (copy / ".gitignore").write_text("", encoding="utf-8")

    assert ".gitignore: expected `.env`" in "\n".join(check.problems(copy))


@pytest.mark.parametrize("image", ["postgres", "postgres:latest", "postgres:${TAG:-latest}", "host:5000/postgres"])
def test_an_image_that_changes_under_our_feet_is_refused(copy: Path, image: str) -> None:
    assert "services.postgres.image" in found(copy, lambda services: services["postgres"].update(image=image))


@pytest.mark.parametrize("change", [{"helthcheck": {"test": "true"}}, {"restart": 3}, {"mem_limit": ["1g"]}])
def test_what_compose_does_not_know_is_refused(copy: Path, change: dict[str, Any]) -> None:
    assert "services.s3" in found(copy, lambda services: services["s3"].update(change))


def test_waiting_for_a_service_that_never_says_it_is_ready_is_refused(copy: Path) -> None:
    assert "services.mlflow.depends_on.postgres" in found(copy, lambda s: s["postgres"].pop("healthcheck"))


def test_waiting_only_for_the_start_is_refused(copy: Path) -> None:
    said = found(copy, lambda services: services["mlflow"].update(depends_on=["postgres"]))

    assert "services.mlflow.depends_on.postgres" in said


def test_waiting_for_the_end_of_what_is_started_again_is_refused(copy: Path) -> None:
    assert "services.buckets" in found(copy, lambda services: services["buckets"].update(restart="always"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("FROM python:3.11-slim-bookworm\n", "FROM python:latest\n", "DL3007"),
        ("USER 10001:10001", "USER root", "not root"),
        ("USER 10001:10001\n", "", "not root"),
        ("COPY recipes ", "COPY recepies ", "COPY recepies"),
    ],
)
def test_a_bad_container_file_is_refused(copy: Path, old: str, new: str, said: str) -> None:
    path = copy / "Containerfile"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")

    assert said in "\n".join(check.problems(copy))


def test_a_missing_hadolint_is_a_failure_and_not_a_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    assert "expected hadolint" in "\n".join(check.linted(INFRA / "Containerfile"))


def test_what_the_image_copies_is_let_into_the_build() -> None:
    listed = (INFRA / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in listed if line.startswith("!")}
    copies = [
        line.split()[1:-1]
        for line in (INFRA / "Containerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
    ]

    assert {source for sources in copies for source in sources} <= allowed


def test_every_variable_without_a_default_is_in_the_example() -> None:
    text = (INFRA / "compose.yaml").read_text(encoding="utf-8")
    required = {match["name"] for match in check.VARIABLE.finditer(text) if match["kind"] == ":?"}
    lines = (INFRA / ".env.example").read_text(encoding="utf-8").splitlines()

    assert {line for line in lines if line and not line.startswith("#")} == {f"{name}=" for name in required}


def test_the_servers_libraries_contradict_no_lock() -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = path.read_text(encoding="utf-8").splitlines()
        return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))

    servers, line = pins(INFRA / "requirements.txt"), pins(ROOT / "requirements.lock")

    assert servers
    assert {name: line[name] for name in servers.keys() & line.keys()} == {
        name: servers[name] for name in servers.keys() & line.keys()
    }


class Store:
    """An S3 store as boto3 shows one, which has the bucket `there` and refuses `foreign`."""

    class exceptions:  # noqa: N801
        BucketAlreadyOwnedByYou = type("BucketAlreadyOwnedByYou", (Exception,), {})
        BucketAlreadyExists = type("BucketAlreadyExists", (Exception,), {})

    def __init__(self) -> None:
        self.made: list[str] = []

    def create_bucket(self, *, Bucket: str) -> None:  # noqa: N803
        if Bucket == "there":
            raise self.exceptions.BucketAlreadyOwnedByYou
        if Bucket == "foreign":
            raise PermissionError(Bucket)
        self.made.append(Bucket)

    def head_bucket(self, *, Bucket: str) -> None:  # noqa: N803
        assert Bucket in {"there", *self.made}


def test_buckets_that_are_there_stay_and_a_refusal_is_an_error() -> None:
    store = Store()
    said: list[str] = []

    buckets.make(store, ["there", "new"], said.append)

    assert store.made == ["new"]
    assert said == ["bucket there is there\n", "bucket new is there\n"]
    with pytest.raises(PermissionError):
        buckets.make(store, ["foreign"], said.append)
