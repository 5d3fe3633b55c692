from __future__ import annotations

import pytest

from sandbox.stage.repositories import git_folders


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["x/HEAD", "x/objects", "x/refs"], {"x"}),
        (["x/head", "x/Objects", "x/REFS"], {"x"}),
        (["HEAD", "objects", "refs"], {""}),
        (["w/HEAD", "w/commondir"], {"w"}),
        (["w/HEAD", "w/CommonDir"], {"w"}),
        (["x/HEAD", "x/objects"], set()),
        (["x/HEAD", "y/objects", "y/refs"], set()),
        (["w/commondir", "w/gitdir"], set()),
        (["x/AHEAD", "x/objects", "x/refs"], set()),
    ],
)
def test_what_git_takes_for_a_repository_is_found_under_any_case(paths: list[str], found: set[str]) -> None:
    """HEAD with objects and refs, or with commondir alone; the parts may come from different trees."""
    assert git_folders(paths) == found
    assert git_folders(paths[:1], paths[1:]) == found
