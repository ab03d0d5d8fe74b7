"""The engines by name, in the order in which they are tried and shown. A new one is one file and one line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from components.runtimes.protocol import Runtime

# In full, since a step's code is found by the modules that it imports or names (`components.provenance`).
MODULES = (
    "components.runtimes.onnxruntime",
    "components.runtimes.openvino",
    "components.runtimes.pytorch",
    "components.runtimes.executorch",
)


def get(name: str) -> Runtime:
    """Raises ValueError naming the engines there are."""
    known = _runtimes()
    if name not in known:
        raise ValueError(f"runtime: expected one of {', '.join(known)}, received {name!r}")
    return known[name]


def names() -> list[str]:
    """Every engine, installed or not."""
    return list(_runtimes())


@cache
def _runtimes() -> dict[str, Runtime]:
    found: dict[str, Runtime] = {}
    for module in MODULES:
        runtime: Runtime = import_module(module).RUNTIME
        if runtime.name in found:
            raise ValueError(f"runtime {runtime.name!r} is registered twice, the second time by {module}")
        found[runtime.name] = runtime
    return found
