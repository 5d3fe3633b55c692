"""The form of every part of a file: closed, strict, never changed. The parts have modules of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Mapping


class Block(BaseModel):
    """A part of a file: closed, strict, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the block; what was computed from the old values is not taken along."""
        made = super().model_copy(update=update, deep=deep)
        for name in made.__dict__.keys() - type(made).model_fields.keys():
            del made.__dict__[name]
        return made
