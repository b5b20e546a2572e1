"""Everything a run can be told: sections of settings, and how they are read and written."""

from fedpers.settings.resolving import all_sections, parse_assignment, read_toml, resolve, to_toml
from fedpers.settings.section import Section, flag, is_flag, option
from fedpers.settings.sections import (
    Answer,
    CentralSettings,
    DataSettings,
    EngineSettings,
    FederationSettings,
    LocalSettings,
    ModelSettings,
    PrivacySettings,
    RunSettings,
    Settings,
    Split,
    SyntheticSettings,
)

__all__ = [
    "Answer",
    "CentralSettings",
    "DataSettings",
    "EngineSettings",
    "FederationSettings",
    "LocalSettings",
    "ModelSettings",
    "PrivacySettings",
    "RunSettings",
    "Section",
    "Settings",
    "Split",
    "SyntheticSettings",
    "all_sections",
    "flag",
    "is_flag",
    "option",
    "parse_assignment",
    "read_toml",
    "resolve",
    "to_toml",
]
