from __future__ import annotations

import pytest

from policies.errors import UntrustedPolicyError
from policies.source import SourceText, parse_policy
from policies.trust import Closure, Member, closure_of, verify_trust

BASE = "version: 1\nname: b\ngrant: [files]\ncommands: {allow: [files read, files list]}\n"
CHILD = "version: 1\nname: c\nextends: base\ncommands: {allow: [files read]}\n"


def _closure(child: str = CHILD, base: str = BASE, *others: Member) -> Closure:
    policy = parse_policy(child, origin="c.yaml", find=lambda _: SourceText("base.yaml", base))
    return closure_of(policy, others=others)


def test_a_trusted_closure_passes() -> None:
    verify_trust("c.yaml", _closure(), [_closure()])


def test_nothing_is_trusted_by_itself() -> None:
    with pytest.raises(UntrustedPolicyError) as refused:
        verify_trust("c.yaml", _closure(), [])

    assert refused.value.changed == ()
    assert "is not trusted" in str(refused.value)


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        (_closure(CHILD + "# a comment\n"), ("c.yaml",)),
        (_closure(CHILD + "expect: [{allow: files read a}]\n"), ("c.yaml",)),
        (_closure(CHILD, BASE + "# a comment\n"), ("base.yaml",)),
        (_closure(CHILD, BASE, Member("task.yaml", "1")), ("task.yaml",)),
        (_closure(CHILD, BASE.replace("files read, ", "")), ("base.yaml", "policy as resolved")),
    ],
)
def test_a_change_anywhere_in_the_closure_is_untrusted_again_and_named(
    now: Closure, changed: tuple[str, ...]
) -> None:
    with pytest.raises(UntrustedPolicyError) as refused:
        verify_trust("c.yaml", now, [_closure()])

    assert refused.value.changed == changed
    assert refused.value.digest == now.digest


def test_what_was_trusted_before_is_still_trusted_after_a_change_is_taken_back() -> None:
    verify_trust("c.yaml", _closure(), [_closure(), _closure(CHILD + "# other\n")])


def test_the_digest_does_not_depend_on_the_order_and_cannot_be_forged_by_moving_a_border() -> None:
    one, two = Member("a", "bc"), Member("ab", "c")

    assert _closure(CHILD, BASE, one, two).digest == _closure(CHILD, BASE, two, one).digest
    assert _closure(CHILD, BASE, one).digest != _closure(CHILD, BASE, two).digest
