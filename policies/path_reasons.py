"""Why an action may not touch a path of the workspace: hidden, protected, only read, or no path at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.errors import BadValueError
from policies.globs import canonical_path
from policies.request import PathUse, Reason
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.files_block import FilesBlock
    from policies.policy import Policy
    from policies.request import ActionRequest


def path_reasons(policy: Policy, request: ActionRequest) -> Iterator[Reason]:
    """Find the paths that an action may not touch.

    Args:
        policy: The policy in force.
        request: The action.

    Yields:
        Reasons for a denial, codes `path`, `hidden` and `protected`.
    """
    if policy.files is None:
        return
    for use in request.paths:
        try:
            path = canonical_path(use.path)
        except BadValueError as exc:
            yield Reason("path", exc.message, exc.hint, policy.place("files"))
            continue
        yield from _path(policy, policy.files, use, path)


def _path(policy: Policy, files: FilesBlock, use: PathUse, path: str) -> Iterator[Reason]:
    if hidden := files.hidden_by(path):
        what = f"path {quoted(path)} is hidden by `{hidden.text}`"
        mend = "`files.hide` keeps it out of this session: do without it"
        if not files.hides(hidden):
            mend = "a usual place of secrets, hidden by default: `files.visible` makes exceptions"
        yield Reason("hidden", what, mend, hidden.at)
        return
    if use.access == "read":
        return
    if files.access == "read":
        yield Reason(
            "path",
            f"path {quoted(path)} cannot be written: `access` is `read`",
            "`files: {access: stage}` lets changes wait for a review",
            policy.place("files.access"),
        )
    elif path == ".":
        yield Reason(
            "protected",
            "the workspace itself cannot be replaced, moved or removed",
            "name what is in it",
            policy.place("files"),
        )
    elif guard := files.protected_by(path):
        what = f"path {quoted(path)} is protected by `{guard.text}`"
        mend = "`files.protect` lets it be read and never written: write elsewhere"
        if not files.protects(guard):
            mend = "the host runs or obeys it later, so it is protected by default: write elsewhere"
        yield Reason("protected", what, mend, guard.at)
