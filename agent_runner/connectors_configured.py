"""Say what the operator's configuration may hold of connectors: servers, credentials, what may be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agent_runner.connectors_container import ConnectorContainer
from policies.errors import BadValueError
from policies.hosts import HostPattern
from policies.leaves import HostField, NameField
from policies.request import SinkKind
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
        raise ValueError("expected a server's URL, as in `https://HOST/PATH`") from error
    if target.scheme != "https" or urlsplit(value).query or urlsplit(value).fragment:
        raise ValueError("expected a server's URL, as in `https://HOST/PATH`")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_checked)]
_Hosts = Annotated[tuple[HostField, ...], Field(max_length=8, strict=False)]
_Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
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


class ToolArgument(BaseModel):
    """One argument of a tool, as the operator declares it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Literal["text", "integer", "flag"] = "text"
    choices: Annotated[tuple[str, ...], Field(max_length=64, strict=False)] = ()
    """The texts that it may be; empty is any."""
    required: bool = False
    many: bool = False
    """Whether it is a list of texts."""
    help: Annotated[str, Field(max_length=400)] = ""

    @model_validator(mode="after")
    def _as_its_type(self) -> Self:
        if self.type != "text" and (self.choices or self.many):
            raise ValueError("expected `choices` and `many` with `type: text` alone")
        return self


class RemoteTool(BaseModel):
    """One tool of a server's, with what only the operator can say of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    needs: Annotated[tuple[Literal["files", "network"], ...], Field(min_length=1, strict=False)]
    """The capabilities that a call exercises: `network`, and `files` where it reads what is private."""
    sinks: dict[_Word, SinkKind]
    """Arguments that decide where data goes or whose things change; `{}` says that there are none."""
    summary: Annotated[str, Field(min_length=1, max_length=400)]
    """One sentence. The server's own words about its tools are never shown to a model."""
    tool: Annotated[str, Field(max_length=128)] = ""
    """What the server calls it, where that is not the command's word."""
    arguments: dict[_Word, ToolArgument] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "network" not in self.needs:
            raise ValueError("a call goes to a server, expected `network` among `needs`")
        for name in self.sinks:
            found = self.arguments.get(name)
            if found is None or found.type != "text" or not found.required:
                raise ValueError(f"sink `{name}` is no required argument of type text")
        return self


class McpServer(BaseModel):
    """A server of the Model Context Protocol, and the tools that are offered of it.

    It answers at a URL over streamable HTTP, or is a program in a container of `programs`, over stdio.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: BaseUrl = ""
    container: NameField | None = None
    """Name of one of `programs`, in which it is started."""
    program: Annotated[tuple[str, ...], Field(max_length=64, strict=False)] = ()
    """Its argv there."""
    tools: Annotated[dict[_Word, RemoteTool], Field(min_length=1)]
    """Words of commands, and the tools behind them; a tool that is not here is not offered."""
    credential: NameField | None = None
    private: bool = False
    ca_file: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.url) == bool(self.container) or bool(self.container) != bool(self.program):
            raise ValueError("expected `url`, or `container` and `program`")
        if self.container and (self.credential or self.private or self.ca_file):
            raise ValueError("`credential`, `private` and `ca_file` belong to `url`; a container has its own")
        if any(not word or "\0" in word for word in self.program):
            raise ValueError("a word of `program` is empty or holds a NUL")
        return self

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return self.url

    @property
    def account(self) -> str:
        """Nobody's in particular: the credential says it."""
        return ""

    def rules(self, *, reads: bool) -> tuple[Rule, ...]:  # noqa: ARG002 - one path has everything
        """Return what may be asked: the one path."""
        target = canonical_url(self.url)
        return (
            Rule(
                host=HostPattern.parse(target.host),
                ports=(target.port,),
                methods=("POST", "DELETE"),
                paths=((UrlPath.parse(target.path),),),
                credential=self.credential or "",
                allow_private=self.private,
            ),
        )


class ConfiguredConnectors(BaseModel):
    """Every connector that the operator configured."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    slack: SlackServer | None = None
    mail: MailServer | None = None
    mcp: dict[_Word, McpServer] = Field(default_factory=dict)
    """Groups of commands, and the servers behind them."""
    programs: dict[_Word, ConnectorContainer] = Field(default_factory=dict)
    """Containers in which declared commands and MCP servers run that are programs."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for name in self.programs:
            if name in {"slack", "mail", *self.mcp}:
                raise ValueError(f"`programs.{name}` has the name of another connector")
        for name, server in self.mcp.items():
            if server.container is not None and server.container not in self.programs:
                raise ValueError(
                    f"`mcp.{name}` names container `{server.container}`, which is none of `programs`"
                )
        return self

    def server(self, name: str) -> SlackServer | MailServer | McpServer | ConnectorContainer | None:
        """Return the connector of a name; None when there is none."""
        named = {"slack": self.slack, "mail": self.mail}
        return named[name] if name in named else self.mcp.get(name) or self.programs.get(name)


def _rule(server: _Server, target: Target, methods: tuple[str, ...], paths: Iterable[str]) -> Rule:
    return Rule(
        host=HostPattern.parse(target.host),
        ports=(target.port,),
        methods=methods,
        paths=(tuple(UrlPath.parse(path) for path in paths),),
        credential=server.credential,
        allow_private=server.private,
    )
