"""Keep the workspace as the agent changes it: prepare it, read what changed, apply it, or throw it away."""

from sandbox.stage.apply import ApplyResult, Recovery, apply_changes, recover
from sandbox.stage.changes import Change, ChangeKind, ChangeSet, Concern, compute_changes
from sandbox.stage.collecting import collect
from sandbox.stage.diff import Diff, render_diff
from sandbox.stage.discard import Discarded, discard
from sandbox.stage.errors import ApplyError, LabelError, PathRefusedError, StageError
from sandbox.stage.labels import LabelChange, Labels
from sandbox.stage.layout import MatchNothing, PathMatcher, StageFolder
from sandbox.stage.matching import Globs, HiddenBy, KeptBy, Named, ProtectedBy, ThesePaths
from sandbox.stage.newcomers import NewcomerWatch
from sandbox.stage.opened import OpenStage, open_stage
from sandbox.stage.parcel import pack
from sandbox.stage.plan import fall_back_to_copy, plan_stage, stage_of_tree
from sandbox.stage.quota import Exceeded, StageLimits, UpperUse, UpperWatch
from sandbox.stage.resume import resume_stage
from sandbox.stage.scan import Scan, scan
from sandbox.stage.start import load_record
from sandbox.stage.strategy import (
    Access,
    Copy,
    Direct,
    Overlay,
    OverlayOnCopy,
    ReadOnly,
    StageFacts,
    StagePlan,
)
from sandbox.stage.summary import hidden_line
from sandbox.stage.verdict import NotApplied, Refusal
from sandbox.stage.waiting import changes_wait

__all__ = [
    "Access",
    "ApplyError",
    "ApplyResult",
    "Change",
    "ChangeKind",
    "ChangeSet",
    "Concern",
    "Copy",
    "Diff",
    "Direct",
    "Discarded",
    "Exceeded",
    "Globs",
    "HiddenBy",
    "KeptBy",
    "LabelChange",
    "LabelError",
    "Labels",
    "MatchNothing",
    "Named",
    "NewcomerWatch",
    "NotApplied",
    "OpenStage",
    "Overlay",
    "OverlayOnCopy",
    "PathMatcher",
    "PathRefusedError",
    "ProtectedBy",
    "ReadOnly",
    "Recovery",
    "Refusal",
    "Scan",
    "StageError",
    "StageFacts",
    "StageFolder",
    "StageLimits",
    "StagePlan",
    "ThesePaths",
    "UpperUse",
    "UpperWatch",
    "apply_changes",
    "changes_wait",
    "collect",
    "compute_changes",
    "discard",
    "fall_back_to_copy",
    "hidden_line",
    "load_record",
    "open_stage",
    "pack",
    "plan_stage",
    "recover",
    "render_diff",
    "resume_stage",
    "scan",
    "stage_of_tree",
]
