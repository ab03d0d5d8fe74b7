"""A noun's own document: frozen, read whole or refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from components.files import ArtifactError

SAID = 5  # mistakes of a file that its error names


class Card(BaseModel):
    """A frozen JSON document that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse the file; raises ArtifactError naming it where it is missing or malformed."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path}: expected a readable {cls.__name__}: {_said(error)}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _said(error: OSError | ValueError) -> str:
    """In one line; of many mistakes the first few."""
    if not isinstance(error, ValidationError):
        return str(error)
    wrong = [
        ": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"]]))
        for each in error.errors(include_url=False, include_input=False)
    ]
    return "; ".join(wrong[:SAID]) + ("; …" if len(wrong) > SAID else "")
