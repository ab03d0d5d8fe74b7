"""Texts: sound ones, one that is empty, one that is far too long, none, and bytes that are no UTF-8."""

from __future__ import annotations

import pyarrow as pa

from components.config import TextDeclaration

DECLARED = TextDeclaration(unit="word", length=6, least=1)
_CONTENTS = [
    b"Not good, not good at all!",
    "日本語 and naïve emoji 👍🏽".encode(),
    b"",
    b"word " * 1000,
    None,
    b"caf\xe9",
    b"hardly bad",
]
# As Arrow hands it over: it does not look whether bytes are UTF-8.
COLUMN = pa.array(_CONTENTS, pa.binary()).view(pa.string())
SOUND = [0, 1, 2, 3, 6]  # rows that become arrays; the first two differ
