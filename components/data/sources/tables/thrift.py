"""Thrift's compact protocol, as far as Parquet's footers and page headers need it: bytes → fields by number.

PyArrow has the same, but ends the process over some damaged footers (`terminate called after throwing …`), and shows
no page headers at all.
"""

from __future__ import annotations

from typing import Any

DEPTH = 10  # of structures and lists in each other; Parquet's have six
VALUES = 1_000_000  # of one message: a footer has thirty a column of a row group


def structure(content: bytes) -> tuple[dict[int, Any], int]:
    """The structure that the bytes begin with, as numbers, bytes, lists and structures by field; and its length.

    Raises ValueError for what is none, or is cut short.
    """
    reader = _Reader(content)
    return reader.structure(0), reader.at


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content, self.at, self._left = content, 0, VALUES

    def structure(self, depth: int) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth + 1)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        self._left -= 1
        if depth > DEPTH or self._left < 0:
            raise ValueError("it is nested too deeply, or has too many values")
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                return self._bytes(8)
            case 8:
                return self._bytes(self._unsigned())
            case 9 | 10:
                head = self._byte()
                size = head >> 4 if head >> 4 != 15 else self._unsigned()
                return [self._value(head & 15, depth + 1) for _ in range(size)]
            case 12:
                return self.structure(depth)
        raise ValueError(f"it has a value of kind {kind}, which is none")

    def _bytes(self, length: int) -> bytes:
        start, self.at = self.at, self.at + length
        if self.at > len(self._content):
            raise ValueError("it is cut short")
        return self._content[start : self.at]

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("it has a number of more than 64 bits")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
