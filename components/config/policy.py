"""`policy:` of `params.yaml`: what holds for every run of the project, whatever a recipe or `-S` says."""

from __future__ import annotations

from collections.abc import Mapping

from components.config.gates import Gate, Gates, label
from components.config.section import Section

# Gate → the key by which it is strict, and whether more of it is stricter. Of the others (of which it depends on the
# metric) a recipe has to say the policy's own value.
STRICTER: Mapping[str, tuple[str, bool]] = {
    "floor": ("limit", True),
    "ceiling": ("limit", False),
    "calibration": ("limit", False),
    "production": ("margin", False),
    "baseline": ("margin", True),
    "int8_drop": ("limit", False),
    "parity": ("limit", False),
    "latency": ("limit", False),
    "size": ("limit", False),
    "drift": ("limit", False),
    "freshness": ("days", False),
    "approvals": ("required", True),
}


class PolicyConfig(Section):
    """What no recipe and no override can take away."""

    gates: Gates | None = None  # that every recipe must have, as strict as here or stricter; None: none


def problems(policy: PolicyConfig, gates: tuple[Gate, ...], key: str = "line.gates") -> list[str]:
    """Where a recipe's gates demand less than the policy's, a line each."""
    there = {label(gate): gate for gate in gates}
    return [
        f"{key}.{name}: expected {_expected(wanted)}, as `policy:` of params.yaml demands of every run, received "
        f"{'no such gate' if name not in there else _said(there[name])}"
        for name, wanted in ((label(gate), gate) for gate in policy.gates or ())
        if name not in there or not _as_strict(there[name], wanted)
    ]


def _as_strict(gate: Gate, wanted: Gate) -> bool:
    strict = STRICTER.get(gate.gate)
    if strict is None:
        return gate == wanted
    key, more = strict
    same = gate.model_copy(update={key: getattr(wanted, key)}) == wanted
    received, least = getattr(gate, key), getattr(wanted, key)
    return same and (received >= least if more else received <= least)


def _expected(gate: Gate) -> str:
    key, more = STRICTER.get(gate.gate, ("", False))
    if not key:
        return _said(gate)
    return f"{key} {getattr(gate, key):g} or {'more' if more else 'less'}"


def _said(gate: Gate) -> str:
    return ", ".join(f"{key} {value}" for key, value in gate if key != "gate" and value is not None) or "no limit"
