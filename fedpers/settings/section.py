"""What a section of settings is made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """One concern's settings: immutable, strict about names and ranges."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


def flag(default: Any, help: str, **rules: Any) -> Any:
    """Declares a setting that has a flag on the command line; `rules` are pydantic's (ge, gt, ...)."""
    return Field(default, description=help, json_schema_extra={"flag": True}, **rules)


def is_flag(info: FieldInfo) -> bool:
    """Tells whether a setting has a flag of its own."""
    extra = info.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("flag"))


def option(default: Any, help: str, **rules: Any) -> Any:
    """Declares a setting reached by `--set` or a TOML file only."""
    return Field(default, description=help, **rules)
