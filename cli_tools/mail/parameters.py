"""Hold the parameters that several `mail` commands take."""

from __future__ import annotations

import re
from typing import Final

import click

from cli_tools.command import Body
from policies.errors import BadValueError
from policies.sinks import canonical_sink

_ID = re.compile(r"[A-Za-z0-9_=-]{1,512}")
MOST_RECIPIENTS: Final = 50
LONGEST_SUBJECT: Final = 255


class Id(click.ParamType[str]):
    """Take the id of a message, an attachment or a folder; none can be read as a path."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, or fail."""
        if not self.fits(str(value)):
            self.fail(f"`{str(value)[:40]}` is no id, as `mail list` shows them", param, ctx)
        return str(value)

    def fits(self, value: str) -> bool:
        """Tell whether this is an id."""
        return _ID.fullmatch(value) is not None


class Address(click.ParamType[str]):
    """Take one address, in the form that is compared. INVARIANT: what was decided is what is sent."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it in small letters, or fail."""
        try:
            return canonical_sink("address", str(value))
        except BadValueError as error:
            self.fail(f"{error.message}, as `name@example.com`", param, ctx)


class Subject(click.ParamType[str]):
    """Take a subject: one line."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, or fail."""
        text = str(value)
        if not text.strip() or len(text) > LONGEST_SUBJECT or not text.isprintable():
            self.fail(f"a subject is one line of 1 to {LONGEST_SUBJECT} characters", param, ctx)
        return text


class Folder(click.ParamType[str]):
    """Take a folder: a name as the mailbox shows it, a well-known name, or an id."""

    name = "folder"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, or fail."""
        text = str(value)
        if not text.strip() or len(text) > LONGEST_SUBJECT or not text.isprintable():
            self.fail("a folder is named by one line, as `archive`", param, ctx)
        return text


ID: Final = Id()
MESSAGE: Final = click.Argument(["message"], type=ID)
TO: Final = click.Option(
    ["--to"], type=Address(), multiple=True, required=True, help="One recipient; may be repeated."
)
SUBJECT: Final = click.Option(["--subject"], type=Subject(), required=True, help="One line.")
TEXT: Final = click.Option(["--text"], type=Body(needed=True), help="The message; plain text.")
