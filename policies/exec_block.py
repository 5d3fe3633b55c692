"""The block `exec`: the image, and the programs that come from it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from policies.block import Block
from policies.leaves import ImageField, Programs, ProgramsField, choice

STARTER: Final = "pairlock/starter"


class ExecBlock(Block):
    """The programs, and the image that they come from."""

    image: ImageField = Field(default=STARTER, description="the image; a digest is best")
    contents: Annotated[Literal["public"], *choice("what the image holds", "public")] | None = Field(
        default=None, description="`public`: nothing in the image is private; needed with network and exec"
    )
    programs: ProgramsField = Field(
        default=Programs(), description="what argv[0] of `run` may be; steers, does not bind"
    )
