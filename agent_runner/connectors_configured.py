"""Say what the operator's configuration may hold of connectors: servers, credentials, what may be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from policies.errors import BadValueError
from policies.hosts import HostPattern
from policies.leaves import HostField, NameField
from policies.urls import UrlPath, canonical_url
from sandbox.egress.rules import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.urls import Target

_POSTING: Final = ("chat.postMessage", "reactions.add")
_READING: Final = (
    "conversations.list",
    "conversations.history",
    "conversations.replies",
    "search.messages",
    "files.getUploadURLExternal",
    "files.completeUploadExternal",
)


def _checked(value: str) -> str:
    try:
        target = canonical_url(value)
    except BadValueError as error:
        raise ValueError(error.message) from error
    if target.scheme != "https" or urlsplit(value).query or urlsplit(value).fragment:
        raise ValueError(f"`{value}` is no server's URL, expected `https://HOST/PATH`")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_checked)]
_Hosts = Annotated[tuple[HostField, ...], Field(max_length=8, strict=False)]
_Mailbox = Annotated[str, Field(pattern=r"^(me|users/[A-Za-z0-9._@-]{1,200})$")]


class _Server(BaseModel):
    """One server and the way to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    credential: NameField
    """A name of `credentials`."""
    private: bool = False
    """Whether the server may have a private address."""
    ca_file: str | None = None
    """Further authorities for the server's certificate, PEM; `~` is the home folder."""


class SlackServer(_Server):
    """Slack's Web API, or what speaks it."""

    base_url: BaseUrl = "https://slack.com/api"
    upload_hosts: _Hosts = (HostPattern.parse("files.slack.com"),)
    """Where files are uploaded to; the server names the place, and gets no credential there."""
    account: str = Field(default="", max_length=0)

    def rules(self, *, reads: bool) -> tuple[Rule, ...]:
        """Return what may be asked; in a session without `files` only what posts.

        Args:
            reads: Whether the session may read what is private.
        """
        target = canonical_url(self.base_url)
        methods = (*_POSTING, *(_READING if reads else ()))
        paths = [f"{target.path.rstrip('/')}/{each}" for each in methods]
        uploads = tuple(
            Rule(
                host=host,
                ports=(target.port if host.text == target.host else 443,),
                methods=("POST",),
                paths=((UrlPath.parse("/upload/**"),),),
                allow_private=self.private,
            )
            for host in (self.upload_hosts if reads else ())
        )
        return (_rule(self, target, ("GET", "POST"), paths), *uploads)


class MailServer(_Server):
    """Outlook through Microsoft Graph, or what speaks it."""

    base_url: BaseUrl = "https://graph.microsoft.com/v1.0"
    account: _Mailbox = "me"
    """Whose mailbox: `me`, or `users/name@example.com` with an app's credential."""

    def rules(self, *, reads: bool) -> tuple[Rule, ...]:
        """Return what may be asked; in a session without `files` only what sends or drafts.

        Args:
            reads: Whether the session may read what is private.
        """
        target = canonical_url(self.base_url)
        box = f"{target.path.rstrip('/')}/{self.account}"
        sends = _rule(self, target, ("POST",), [f"{box}/sendMail", f"{box}/messages"])
        if not reads:
            return (sends,)
        one = f"{box}/messages/*"
        return (
            sends,
            _rule(self, target, ("GET",), [f"{box}/messages/**", f"{box}/mailFolders/**", f"{box}/messages"]),
            _rule(self, target, ("GET",), [f"{box}/mailFolders"]),
            _rule(self, target, ("POST",), [f"{one}/createReply", f"{one}/send", f"{one}/move"]),
            _rule(self, target, ("PATCH",), [one]),
        )


class ConfiguredConnectors(BaseModel):
    """Every connector that the operator configured."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    slack: SlackServer | None = None
    mail: MailServer | None = None

    def server(self, name: str) -> SlackServer | MailServer | None:
        """Return the connector of a name; None when there is none."""
        return {"slack": self.slack, "mail": self.mail}.get(name)


def _rule(server: _Server, target: Target, methods: tuple[str, ...], paths: Iterable[str]) -> Rule:
    return Rule(
        host=HostPattern.parse(target.host),
        ports=(target.port,),
        methods=methods,
        paths=(tuple(UrlPath.parse(path) for path in paths),),
        credential=server.credential,
        allow_private=server.private,
    )
