"""Keep the workspace as the agent changes it: prepare it, read what changed, apply it, or throw it away."""

from sandbox.stage.errors import StageError
from sandbox.stage.layout import MatchNothing, PathMatcher, StageFolder
from sandbox.stage.plan import (
    Access,
    Copy,
    Direct,
    Overlay,
    OverlayOnCopy,
    ReadOnly,
    StageFacts,
    StagePlan,
    fall_back_to_copy,
    plan_stage,
)

__all__ = [
    "Access",
    "Copy",
    "Direct",
    "MatchNothing",
    "Overlay",
    "OverlayOnCopy",
    "PathMatcher",
    "ReadOnly",
    "StageError",
    "StageFacts",
    "StageFolder",
    "StagePlan",
    "fall_back_to_copy",
    "plan_stage",
]
