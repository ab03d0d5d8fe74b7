"""Arguments of networks, checked against the annotations of who takes them: before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

PLAIN = (bool, int, float, str)


def problem(value: Any, annotation: Any) -> str | None:
    """What is wrong with a value for a plain type, a Literal or an Annotated one with limits; None: nothing."""
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if plain in PLAIN and type(value) is not plain and (type(value), plain) != (int, float):
        return f"expected {plain.__name__}, received {value!r}"
    try:
        TypeAdapter(annotation).validate_python(value, strict=True)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Input should be ")
        return f"expected {expected}, received {value!r}"
    return None


def wrong_arguments(given: Mapping[str, Any], expected: Mapping[str, Any], key: str) -> list[str]:
    """What is wrong with arguments, by the annotations of those that there are: a line each, under `key.arguments`."""
    wrong = []
    for argument, value in sorted(given.items()):
        where = f"{key}.arguments.{argument}"
        if argument not in expected:
            wrong.append(f"{where}: expected one of {', '.join(sorted(expected))}, received {value!r}")
        elif (said := problem(value, expected[argument])) is not None:
            wrong.append(f"{where}: {said}")
    return wrong
