"""How the workers that Ray has started find each other: one process group of torch.distributed while they train.

Ray's own `TorchTrainer` does the same from its controller, which for that imports PyTorch, as does every process that
holds a trainer. Here only workers do, and a training begins seconds sooner.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from components.training.processes.workers import Workers

TIMEOUT = timedelta(minutes=30)  # of one collective: the first worker may write a large checkpoint meanwhile

Address = tuple[str, int]


@contextmanager
def process_group(
    workers: Workers, host: str, from_first: Callable[[Address | None], Address | None]
) -> Iterator[None]:
    """Make the group of all workers for the block: NCCL on GPUs, gloo elsewhere; a single worker needs none.

    `host` is this machine's address, under which the first worker is found, and the only one it listens at;
    `from_first` gives everybody what the first worker gave it, before there is a group.
    """
    if workers.count == 1:
        yield
        return
    if workers.first:
        listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        address: Address = (host, listener.getsockname()[1])
        store = _store(address, workers, listener)
        from_first(address)
    else:
        found = from_first(None)
        if found is None:
            raise RuntimeError("expected the first worker's address, received none")
        store = _store(found, workers)
    if workers.device.type == "cuda":
        torch.cuda.set_device(workers.device)
    backend = "nccl" if workers.device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=workers.rank, world_size=workers.count, timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _store(address: Address, workers: Workers, listener: socket.socket | None = None) -> Any:
    """The group's notice board, which the first worker keeps."""
    own: dict[str, Any] = {} if listener is None else {"master_listen_fd": listener.detach()}
    board: Any = dist.TCPStore  # type: ignore[attr-defined]
    return board(*address, workers.count, workers.first, timeout=TIMEOUT, wait_for_workers=False, **own)
