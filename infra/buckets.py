"""Makes the named buckets in the S3 store that AWS's own variables name; those that are there stay."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def make(client: Any, names: list[str], say: Callable[[str], object]) -> None:
    """Create what is missing. The client retries by itself; what is still wrong then is raised."""
    there = (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists)
    for name in names:
        with suppress(*there):
            client.create_bucket(Bucket=name)
        client.head_bucket(Bucket=name)  # says whether it can be used, whoever made it
        say(f"bucket {name} is there\n")


def main(names: list[str]) -> None:
    """Entry point: `python infra/buckets.py NAME…`."""
    import boto3
    from botocore.config import Config

    store = boto3.client("s3", config=Config(retries={"max_attempts": 8}, s3={"addressing_style": "path"}))
    make(store, names, sys.stdout.write)


if __name__ == "__main__":
    main(sys.argv[1:])
