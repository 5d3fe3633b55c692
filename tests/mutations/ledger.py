"""Change one thing at a time in what proves the ledger, run its tests, and print which noticed it.

Run it with `python -m tests.mutations.ledger [FILE ...] [--from N] [--most N]`: each comparison turned round,
each condition negated, each number moved by one, each refusal left out. It exits 1 when a change survives.
Some seconds for each of several hundred changes, a minute for one that survives: for hand use, with time.

What may survive, and why: in `merkle`, that a proof longer than the tree is deep is refused where it becomes
so. What it leads to is then hashed once more, and is not the root; the refusal only says why.
"""

from __future__ import annotations

import argparse
import ast
import copy
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutations.forks import SAID, Forks

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
COPIED = ("policies", "audit", "sandbox", "cli_tools", "agent_runner", "tests", "docs", "pyproject.toml")
TREE = ("test_merkle_tree.py", "test_format_is_kept.py", "test_proofs_and_bundles.py")
LINES = (
    *("test_seals_and_checkpoints.py", "test_without_a_host_log.py", "test_host_log_and_anchors.py"),
    *("test_verifiers_agree_on_lines.py", "test_verify_finds_attacks.py", "test_behind_the_end.py"),
)
READING = ("test_reading_and_asking.py", "test_proofs_and_bundles.py", "test_format_is_kept.py")
HELD = ("test_stopped_holders.py", "test_locks_and_pipes.py", "../sandbox/test_stopped_lock_holders.py")
ABSENT = ("test_digests.py", "test_bodies_moved_out.py", "test_withheld_and_pruned.py")
OPENINGS = (*ABSENT, "test_openings_are_not_believed.py", "test_redaction.py", "test_what_is_no_log.py")
RECORDS = ("test_host_log_and_anchors.py", "test_the_key_in_other_hands.py", "test_withheld_and_pruned.py")
TESTS = {
    "merkle": TREE,
    "note": ("test_signed_notes.py", "test_keys_and_rotation.py", "test_seals_and_checkpoints.py"),
    "chain": (*LINES, "test_format_is_kept.py"),
    "walk": (*LINES, *READING, *ABSENT, "test_quick_and_slow_walks.py", "test_scouts.py"),
    "scout": ("test_scouts.py",),
    "decoded": ("test_quick_and_slow_walks.py", *LINES),
    "spelling": ("test_quick_and_slow_walks.py",),
    "verify": (*LINES, *READING, "test_reading_while_others_write.py", "test_withheld_and_pruned.py"),
    "keys": (
        *("test_signed_notes.py", "test_keys_and_rotation.py", "test_state_folder.py"),
        *("test_seals_and_checkpoints.py", "test_locks_and_pipes.py"),
    ),
    "skim": ("test_skim_in_rows.py", "test_forged_logs.py", "test_quick_and_slow_walks.py", *LINES),
    "sift": ("test_skim_in_rows.py", "test_bodies_moved_out.py", "test_reading_and_asking.py"),
    "runqueue": ("test_waiting_for_a_processor.py",),
    "lock": HELD,
    "waiting": HELD,
    "holders": HELD,
    "digests": ABSENT,
    "set_aside": ABSENT,
    "disclosure": OPENINGS,
    "table": OPENINGS,
    "session_record": RECORDS,
}
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


def changes(tree: ast.Module) -> Iterator[tuple[ast.Module, str]]:
    """Yield the module once for each change, with what was changed."""
    for place, node in enumerate(ast.walk(tree)):
        for word, made in _changed(node):
            changed = copy.deepcopy(tree)
            target = list(ast.walk(changed))[place]
            target.__class__ = made.__class__
            target.__dict__.update(made.__dict__)
            yield ast.fix_missing_locations(changed), f"line {getattr(node, 'lineno', 0)}: {word}"


def _changed(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _TURNED:
            turned = _TURNED[type(op)]()
            made = ast.Compare(left=node.left, ops=[turned], comparators=node.comparators)
            yield f"`{ast.unparse(node)}` became `{ast.unparse(made)}`", made
        case ast.BoolOp(op=op, values=values):
            other = ast.BoolOp(op=ast.Or() if isinstance(op, ast.And) else ast.And(), values=values)
            yield f"`{ast.unparse(node)}` became `{ast.unparse(other)}`", other
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"`{ast.unparse(node)}` lost its `not`", operand
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            yield f"`{number}` became `{number + 1}`", ast.Constant(value=number + 1)
        case ast.Constant(value=bytes(raw)) if raw:
            yield f"`{raw!r}` lost its end", ast.Constant(value=raw[:-1])
        case ast.Raise():
            yield f"`{ast.unparse(node)[:80]}` was left out", ast.Pass()


def snapshot(folder: Path) -> None:
    """Copy what the tests need, once: what is edited meanwhile is not tried."""
    for name in COPIED:
        whole = ROOT / name
        (shutil.copytree if whole.is_dir() else shutil.copy)(whole, folder / name)


def _tried(folder: Path, name: str, first: int, most: int) -> int:
    """Return how many changes to a module survive, each printed."""
    file = folder / "audit" / f"{name}.py"
    source = file.read_text("utf-8")
    found = list(changes(ast.parse(source)))
    made = found[first : first + most]
    forks = Forks(ROOT, folder, [f"tests/audit/{test}" for test in TESTS[name]])
    if noticed := forks.notices():
        raise SystemExit(f"{(folder / SAID).read_text()}without a change `{noticed}` does not hold")
    survivors = 0
    for number, (changed, words) in enumerate(made, start=first):
        file.write_text(ast.unparse(changed), "utf-8")
        noticed = forks.notices()
        survivors += not noticed
        sys.stdout.write(f"{name} #{number} {words}: {noticed or 'SURVIVES'}\n")
        sys.stdout.flush()
    file.write_text(source, "utf-8")
    sys.stdout.write(f"{name}: {len(made)} of {len(found)} changes made, {survivors} survive\n")
    sys.stdout.flush()
    return survivors


def main() -> int:
    """Print what came of each change, and return 1 when no test noticed one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", choices=[*TESTS, []], help="all when none is named")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the number of the first change")
    parser.add_argument("--most", type=int, default=100_000, help="how many to make in each file")
    options = parser.parse_args()
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="pairlock-mutation-") as name:
        snapshot(Path(name))
        for file in options.files or TESTS:
            survivors += _tried(Path(name), file, options.first, options.most)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
