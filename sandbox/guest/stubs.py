"""Give the agent's programs a folder of commands: names that all lead to the one stub of the runtime volume.

The stub sends its words to the host, which decides and acts. What stands in the folder is a convenience: the
programs may change it, and reach the host's gate either way, and nothing else.
"""

from __future__ import annotations

import errno
import os

from .arguments import Arguments
from .refusal import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .beneath import Beneath
    from .objects import Object
    from .task import Task

MOST = 256
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def write_stubs(task: Task, _beneath: Beneath) -> Object:
    """Make the folder and the names in it; the folder must not be there."""
    arguments = Arguments(task.values, frozenset({"folder", "program", "names", "timeout_seconds"}))
    names, folder = arguments.texts("names"), arguments.text("folder")
    if len(names) > MOST or not all(name and _NAME.issuperset(name) for name in names):
        raise RefusedError("arguments", f"argument `names` is wrong; expected at most {MOST} words")
    try:
        os.mkdir(folder, 0o755)  # noqa: PTH102 (pathlib would cost the start)
    except OSError as error:
        code = "exists" if error.errno == errno.EEXIST else "failed"
        raise RefusedError(code, "the folder of commands cannot be made") from error
    for name in names:
        os.symlink(arguments.text("program"), f"{folder}/{name}")  # noqa: PTH211 (likewise)
    return {"commands": len(names)}
