"""Entities in the order of the text: of each its ends in characters of the request, its class, its text and a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OUTPUTS = ("probabilities", "prediction")
COLUMNS = {"entities": "list of entity"}


def write(answer: Sequence[Any], place: Any, card: Mapping[str, Any]) -> dict[str, Any]:
    """`(T, L)` probabilities and `(L,)` tags → a row; `place` knows the request's text and where its units stand.

    An entity's score is the mean over its units of how probable it is that they are of its class. `end` is behind the
    last character. What is behind the units that the network is given is in no entity.
    """
    probabilities, tags = answer
    text, units = place.text, place.units()
    entities: list[dict[str, Any]] = []
    at = 0
    while at < len(units):
        first, tag = at, int(tags[at])
        at += 1
        if tag == 0:
            continue
        while at < len(units) and tags[at] == tag + 1:
            at += 1
        start, end = int(units[first][0]), int(units[at - 1][1])
        likely = probabilities[tag, first:at] + probabilities[tag + 1, first:at]
        entities.append(
            {
                "start": start,
                "end": end,
                "label": card["classes"][(tag - 1) // 2],
                "text": text[start:end],
                "score": float(likely.mean()),
            }
        )
    return {"entities": entities}
