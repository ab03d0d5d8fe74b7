"""Every whole number of the configuration has an upper bound, so that a slip of the keyboard fills no memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components import decoding
from components.config import ConfigurationError, Params, inputs, load, parse_entry
from flows.schedules.deployments import Deployments


def unbounded(schema: Any, at: str) -> Iterator[str]:
    """Where a JSON schema has whole numbers without a greatest one."""
    if isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from unbounded(part, f"{at}[{number}]")
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "integer" and not {"maximum", "exclusiveMaximum", "const", "enum"} & schema.keys():
        yield at
    for key, part in schema.items():
        yield from unbounded(part, f"{at}.{key}")


@pytest.mark.parametrize("root", [Params, Deployments])
def test_every_whole_number_of_the_configuration_has_an_upper_bound(root: Any) -> None:
    schema = root.model_json_schema()
    # What a validator of its own holds below a bound: the arguments of a network, which may be floats as well.
    own = ".$defs.NetworkConfig.properties.arguments."
    found = [at for at in unbounded(schema, "") if not at.startswith(own)]
    assert found == []
    assert sum(1 for _ in whole_numbers(schema)) > (20 if root is Params else 1)  # it does find them


def whole_numbers(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict):
        if schema.get("type") == "integer":
            yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from whole_numbers(part)


@pytest.mark.parametrize(
    "override",
    [
        "members.count=1000000000",
        "members.networks=[{name: compact, arguments: {width: 1000000000}}]",
        "evaluate.bootstrap=1000000000",
        "training.batch_size=1000000000",
        f"seed={'9' * 90}",
    ],
)
def test_a_number_beyond_all_bounds_is_refused_at_once(override: str) -> None:
    root = Path(__file__).parents[2]
    with pytest.raises(ConfigurationError, match=r"^line\.[a-z_.0-9]+: expected .*, received [19]"):
        load(root, overrides=[override])


def test_pictures_larger_than_those_that_are_read_are_refused() -> None:
    entry = {
        "task": "classification",
        "source": {"kind": "digits"},
        "image": {"height": 9000, "width": 9000, "channels": 3},
    }
    with pytest.raises(ConfigurationError, match=r"`height` times `width` of at most 64,000,000 pixels"):
        parse_entry("large", entry)
    assert inputs.LARGEST_PIXELS == decoding.LARGEST_PIXELS
