"""Name why an operation failed, for the other side: a code that programs read, a message for people."""

from __future__ import annotations

import errno

CODES = {
    errno.ENOENT: "not-found",
    errno.ENOTDIR: "not-folder",
    errno.EISDIR: "is-folder",
    errno.EEXIST: "exists",
    errno.ENOTEMPTY: "not-empty",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.EROFS: "read-only",
    errno.ENOSPC: "no-space",
    errno.EDQUOT: "no-space",
    errno.EFBIG: "no-space",
    errno.EXDEV: "path",
    errno.ELOOP: "path",
    errno.ENAMETOOLONG: "path",
    errno.ENXIO: "special",
    errno.ENODEV: "special",
    errno.ETXTBSY: "busy",
    errno.EBUSY: "busy",
    errno.EAGAIN: "busy",
    errno.EMFILE: "busy",
    errno.ENFILE: "busy",
    errno.ENOMEM: "no-memory",
}


class RefusedError(Exception):
    """Raised when an operation of the guest cannot be done; it becomes a FAIL frame.

    Args:
        code: one word, stable, for programs.
        message: one line for people: lower case, the value in backticks.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def from_os_error(error: OSError, what: str) -> RefusedError:
    """Return what to say of a system call's failure.

    Args:
        error: as raised.
        what: the thing it concerned, already fit to be shown: usually the path as it was asked for.
    """
    name = errno.errorcode.get(error.errno or 0, "unknown")
    code = CODES.get(error.errno or 0, "failed")
    if code == "path":
        return RefusedError(code, f"`{what}` is not a path inside the folder that is shared ({name})")
    return RefusedError(code, f"`{what}`: {(error.strerror or name).lower()} ({name})")
