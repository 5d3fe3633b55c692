"""Show, take or throw away what a session changed; a person's decision is an entry of the host's log."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError
from agent_runner.meta import POLICY, read_meta
from agent_runner.package import pairlock_version
from audit.host import HostLog
from audit.host_event import StageApplied, StageDiscarded
from audit.lock import WriterLock
from policies.policy import FilesBlock
from policies.source import parse_policy
from sandbox.stage.changes import ChangeSet, compute_changes
from sandbox.stage.opened import OpenStage, open_stage

if TYPE_CHECKING:
    from sandbox.stage.apply import ApplyReport


def files_block(folder: Path) -> FilesBlock:
    """Return the `files` block that a session ran under.

    Raises:
        InvalidInputError: When it had none: nothing of the user's was in reach.
    """
    policy = parse_policy((folder / POLICY).read_text("utf-8"), origin=str(folder / POLICY))
    if policy.files is None:
        raise InvalidInputError(f"session `{folder.name}` had no `files`, so there is nothing to review")
    return policy.files
