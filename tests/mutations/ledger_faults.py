"""Remove one protection of the ledger against faults at a time in a copy, and print which test went red.

Run it with `python -m tests.mutations.ledger_faults [NAME …]`, as root on Linux: some tests mount disks.
It exits 1 when no test noticed that a protection was gone. Each takes about half a minute.
"""

from __future__ import annotations

import sys

from tests.mutations.protections import Removal, print_red

FAULTS = "tests/audit/test_ledger_survives_faults.py"
FULL = ("-x", FAULTS, "-k", "keeps_room")
FAILED = ("-x", FAULTS, "-k", "failed_sync and 12 or short")
RECORDS = ("-x", "tests/audit/test_journal_records.py")
SYNCS = ("-x", "tests/audit/test_syncs.py")
HOST = ("-x", FAULTS, "tests/audit/test_host_log_and_anchors.py", "-k", "host or covers or torn")
LOCKS = ("-x", "tests/audit/test_locks_and_pipes.py", "tests/audit/test_stopped_holders.py")
APPEND, SEALED = "audit/appendfile.py", "audit/sealed.py"
UNLINKED = '            raise self._died(LedgerLostError(f"`{self.path.name}` was unlinked'

REMOVALS = (
    Removal("sync before an entry is acknowledged", APPEND, "os.fdatasync(self._descriptor)", "pass", SYNCS),
    Removal("a new log's name is durable", APPEND, "            sync_folder(path.parent)\n", "", SYNCS),
    Removal("a whole file is synced before it is renamed", "audit/state.py",
            "            os.fsync(file.fileno())\n", "", SYNCS),
    Removal("openings before their entry", SEALED, "        if openings:\n", "        if False:\n", RECORDS),
    Removal("a torn tail is cut off", SEALED, "        if torn.size:\n", "        if False:\n", RECORDS),
    Removal("a torn tail of the host's log is cut off", "audit/host.py",
            "        if torn:\n", "        if False:\n", HOST),
    Removal("the reserve", APPEND, "and self.size + len(content) + self._reserve_bytes >", "and 0 >", FULL),
    Removal("the reserve is for the closing lines", APPEND, "if not closing and self", "if self", FULL),
    Removal("a short write is told", APPEND, "if written != len(content):  # a", "if False:  # a", FAILED),
    Removal("a failed sync is told", APPEND, "raise self._died(spoken(error, self.path)) from error",
            "self._died(spoken(error, self.path))\n            return", SYNCS),
    Removal("a file that failed is dead", APPEND, "        self._dead = error\n", "", SYNCS),
    Removal("a journal that failed is dead", "audit/writer.py",
            "        self.error = error if", "        _ = error if", FAILED),
    Removal("an unlinked file is told", APPEND, UNLINKED, f"            return\n{UNLINKED}", RECORDS),
    Removal("a replaced file is told", APPEND,
            "if named.st_ino != self._inode or named.st_dev != self._device:", "if False:", SYNCS),
    Removal("a file that others changed is told", APPEND,
            "if named.st_size != self.size:", "if False:", RECORDS),
    Removal("one writer for a session", "audit/lock.py", "            _lock(self._descriptor)\n",
            "            pass\n", (*RECORDS, *LOCKS)),
    Removal("one at a time in the host's log", "audit/lock.py", "    _take(descriptor, path, fcntl.LOCK_EX)",
            "    _take(descriptor, path, fcntl.LOCK_SH)", (*LOCKS, FAULTS, "-k", "reader or eight")),
    Removal("a monotonic clock", "audit/clock.py", "time.monotonic_ns()", "time.time_ns()", SYNCS),
    Removal("only foreseen lines are signed", "audit/host.py",
            "if coming is None or coming.size != chain.size or chain.size != size + 1:", "if False:", HOST),
    Removal("a lost host's log is not begun anew", "audit/host.py",
            "and not self._was_there()", "and True", HOST),
)  # fmt: skip


if __name__ == "__main__":
    sys.exit(print_red(REMOVALS, sys.argv[1:]))
