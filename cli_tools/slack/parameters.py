"""Hold the parameters that several `slack` commands take."""

from __future__ import annotations

import re
from typing import Final

import click

from policies.errors import BadValueError
from policies.sinks import canonical_sink

_MOMENT = re.compile(r"[0-9]{1,12}\.[0-9]{1,6}")
_EMOJI = re.compile(r"[a-z0-9_+'-]{1,100}(::skin-tone-[2-6])?")


class Channel(click.ParamType[str]):
    """Take one channel, in the form that is compared. INVARIANT: what was decided is what Slack is told."""

    name = "channel"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return `#ci` or an id, or fail."""
        try:
            return canonical_sink("channel", str(value))
        except BadValueError as error:
            self.fail(f"{error.message}, as `#ci`", param, ctx)


class Moment(click.ParamType[str]):
    """Take a message's timestamp, which is its name within its channel."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, or fail."""
        if not _MOMENT.fullmatch(str(value)):
            self.fail(f"`{str(value)[:40]}` is no message's moment, as `1732250000.000100`", param, ctx)
        return str(value)


class Emoji(click.ParamType[str]):
    """Take the name of an emoji, with or without its colons."""

    name = "emoji"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it without its colons, or fail."""
        text = str(value).removeprefix(":").removesuffix(":")
        if not _EMOJI.fullmatch(text):
            self.fail(f"`{str(value)[:40]}` is no emoji's name, as `eyes`", param, ctx)
        return text


MOMENT: Final = Moment()
CHANNEL: Final = click.Option(
    ["--channel"], type=Channel(), required=True, help="One channel: `#ci`, or its id `C0123456789`."
)
