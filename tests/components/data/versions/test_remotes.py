"""Remotes that are servers: a data set goes to an S3 store and comes back, and what goes wrong there is explained."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from components.data import versions
from components.data.errors import DataError
from components.files import digest_folder
from tests.components.data.versions.versions_builders import NAME, Sample, keep_version, new_project

BUCKET = "datasets"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """An S3 store on loopback with one bucket."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(Bucket=BUCKET)
    yield url
    server.stop()


@pytest.fixture
def project(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose remote is that store, as docs/data/versions.md says: place in config.local, key around it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "convoy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    root = new_project(tmp_path / "project")
    _point_to(root, f"s3://{BUCKET}/{tmp_path.name}", address)
    return root


def _point_to(root: Path, url: str, endpoint: str) -> None:
    (root / ".dvc" / "config.local").write_text(
        f"[core]\n    remote = team\n['remote \"team\"']\n    url = {url}\n    endpointurl = {endpoint}\n",
        encoding="utf-8",
    )


def _samples(count: int) -> list[Sample]:
    return [Sample(f"{number}", number % 2, picture=f"{number}") for number in range(count)]


def test_versions_go_to_s3_and_come_back(project: Path) -> None:
    # given two versions in the store, and nothing here but what names the second
    folder = project / ".convoy" / "data" / "prepared" / NAME
    contents, digests = [], []
    for count in (5, 8):
        digests.append(keep_version(project, _samples(count)))
        contents.append(digest_folder(folder))
        assert versions.push(project) > 0
    assert versions.push(project) == 0
    shutil.rmtree(folder)
    shutil.rmtree(project / ".dvc" / "cache")
    # then the second comes by pull, the first by its digest's beginning, and the two can be compared
    assert versions.pull(project) > 0
    assert digest_folder(folder) == contents[1]
    assert digest_folder(versions.restore(project, NAME, digests[0][:9])) == contents[0]
    shutil.rmtree(project / ".dvc" / "cache")
    assert versions.diff(project, NAME, digests[0], digests[1]).counts["added"] == 3


def test_a_bucket_that_is_not_there_is_named(project: Path, address: str) -> None:
    keep_version(project, _samples(5))
    _point_to(project, "s3://nobody-has-this/x", address)
    with pytest.raises(DataError, match="nobody-has-this"):
        versions.push(project)
    with pytest.raises(DataError, match="nobody-has-this"):
        versions.restore(project, NAME, "0" * 32)


def test_a_store_that_does_not_answer_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    digest = keep_version(project, _samples(5))
    _point_to(project, f"s3://{BUCKET}/x", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9"):
        versions.push(project)
    # what is in the cache needs no remote
    assert versions.restore(project, NAME, digest, project / "copy").is_dir()
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9"):
        versions.restore(project, NAME, "0" * 32)


def test_missing_credentials_are_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(project))
    keep_version(project, _samples(5))
    with pytest.raises(DataError, match=r"(?i)credentials"):
        versions.push(project)


def test_a_password_in_an_address_is_not_shown(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    keep_version(project, _samples(5))
    url = "ssh://somebody:hunter2@127.0.0.1:9/data"
    (project / ".dvc" / "config.local").write_text(
        f"[core]\n    remote = team\n['remote \"team\"']\n    url = {url}\n", encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"'team' \(ssh://127\.0\.0\.1:9/data\)") as caught:
        versions.restore(project, NAME, "0" * 32)
    assert "hunter2" not in str(caught.value)
