"""`params.yaml`, a recipe and `-S key=value` → one frozen, typed configuration.

Every key is checked before anything starts, unknown keys are refused, and all mistakes are reported together. What a
key does is said beside its field; what a step does with it lives in that step's room.
"""

from components.config.catalogue import (
    ArraysSource,
    ChecksDeclaration,
    CocoSource,
    DatasetConfig,
    DigitScenesSource,
    DigitsSource,
    FashionMnistSource,
    FolderSource,
    Handling,
    HuggingFaceSource,
    IdxSource,
    ImageDeclaration,
    Located,
    ManifestSource,
    Source,
    SplitDeclaration,
    VocSource,
)
from components.config.compression import AwareConfig, DistillationConfig, EnsembleConfig, QuantizeConfig, StudentConfig
from components.config.gates import Gate
from components.config.line import CorruptionsConfig, DriftConfig, EvaluateConfig, LineConfig, MembersConfig, TuneConfig
from components.config.plain_yaml import YamlError, read_yaml
from components.config.pruning import (
    PruneConfig,
    Rounds,
    StructuredConfig,
    TwoOfFourConfig,
    UnstructuredConfig,
)
from components.config.reading import (
    Params,
    Recipe,
    check,
    dataset_entry,
    load,
    merge,
    parse_entry,
    parse_override,
    read_section,
    recipes,
)
from components.config.section import BY_CONTENT, ConfigurationError, Section
from components.config.training import AugmentConfig, ImbalanceConfig, NetworkConfig, TrainingConfig, TransferConfig

__all__ = [
    "BY_CONTENT",
    "ArraysSource",
    "AugmentConfig",
    "AwareConfig",
    "ChecksDeclaration",
    "CocoSource",
    "ConfigurationError",
    "CorruptionsConfig",
    "DatasetConfig",
    "DigitScenesSource",
    "DigitsSource",
    "DistillationConfig",
    "DriftConfig",
    "EnsembleConfig",
    "EvaluateConfig",
    "FashionMnistSource",
    "FolderSource",
    "Gate",
    "Handling",
    "HuggingFaceSource",
    "IdxSource",
    "ImageDeclaration",
    "ImbalanceConfig",
    "LineConfig",
    "Located",
    "ManifestSource",
    "MembersConfig",
    "NetworkConfig",
    "Params",
    "PruneConfig",
    "QuantizeConfig",
    "Recipe",
    "Rounds",
    "Section",
    "Source",
    "SplitDeclaration",
    "StructuredConfig",
    "StudentConfig",
    "TrainingConfig",
    "TransferConfig",
    "TuneConfig",
    "TwoOfFourConfig",
    "UnstructuredConfig",
    "VocSource",
    "YamlError",
    "check",
    "dataset_entry",
    "load",
    "merge",
    "parse_entry",
    "parse_override",
    "read_section",
    "read_yaml",
    "recipes",
]
