"""What came of quantizing, as it lies in a folder. Imports no engine: reading it runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from components.artifacts import Model
from components.compress.quantization.report import QuantizationReport
from components.compress.quantization.serving import RuntimeChoice
from components.files import digest_values

ARTIFACT = "artifact"  # the folder, and the name, of the model that was chosen


@dataclass(frozen=True)
class Quantized:
    """A folder: `artifact`, the candidates it was chosen from (`float32` with its weights first), and the report."""

    folder: Path
    served: Model
    models: dict[str, Model]
    report: QuantizationReport
    runtime: RuntimeChoice  # what executes it

    @property
    def float32(self) -> Model:
        return self.models["float32"]

    @property
    def int8(self) -> Model:
        """KeyError where int8 was no candidate."""
        return self.models["int8"]

    @property
    def digest(self) -> str:
        return digest_values(
            {"artifact": self.served.digest, "float32": self.float32.digest, "report": self.report.digest}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises ArtifactError naming what is missing."""
        report = QuantizationReport.read(folder / "quantization.json")
        models = {each.name: Model.load(folder / each.name) for each in report.candidates}
        return cls(folder, Model.load(folder / ARTIFACT), models, report, RuntimeChoice.read(folder / "runtime.json"))
