"""Find the credentials that a policy names: how the operator configured them, and their values on the host.

A policy names a credential; the operator's configuration says where its value is to be had, how servers want
it and to which hosts it may go. The value stays in this process and, for one request, in the egress process.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.key import KeyReference, fetch_key
from agent_runner.errors import InvalidInputError
from audit.redact import SHORTEST_SECRET
from policies.leaves import HostField
from sandbox.egress.credentials import Credential

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from policies.network_block import EgressRule
    from policies.policy import Policy

_OF_CONNECTION: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"}
)
_Hosts = Annotated[tuple[HostField, ...], Field(min_length=1, strict=False)]
_HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]


FRESH_SECONDS: Final = 600.0
"""For which what a command printed is used; tokens of Microsoft's last from 60 minutes on."""


_FORMER: Final = 2
"""Values of before that are kept out of answers: each for 20 minutes at the least after it was replaced."""


class CredentialReference(KeyReference):
    """One credential of the operator's: where its value is, how it is sent, and to whom it may go."""

    hosts: _Hosts
    """The hosts that it may be sent to, whatever a policy says."""
    kind: Literal["bearer", "basic", "header"] = "bearer"
    """`bearer` and `basic` are forms of `Authorization`; `header` is a header of its own."""
    user: Annotated[str, Field(pattern=r"^[\x20-\x39\x3b-\x7e]+$", max_length=256)] | None = None
    """For `basic`: the name; the value is the password."""
    header: _HeaderName | None = None
    """For `header`: its name."""

    @model_validator(mode="after")
    def _as_its_kind(self) -> Self:
        if (self.user is not None) != (self.kind == "basic"):
            raise ValueError("expected `user` with `kind: basic`, and nowhere else")
        if (self.header is not None) != (self.kind == "header"):
            raise ValueError("expected `header` with `kind: header`, and nowhere else")
        if self.header is not None and self.header.lower() in _OF_CONNECTION:
            raise ValueError(f"`{self.header}` belongs to the connection, expected another header")
        return self

    def credential(self, value: str) -> Credential:
        """Return the credential with its value in it."""
        if self.kind == "basic":
            return Credential(value=f"{self.user}:{value}", kind="basic")
        return Credential(value=value, kind=self.kind, header=self.header or "authorization")


NONE_CHANGE: Final[Mapping[str, CredentialReference]] = MappingProxyType({})


class Keyring:
    """The credentials of one session, fetched when it starts; what a command prints is fetched again in time.

    Args:
        credentials: Name to credential.
        values: Name to the secret itself, for whoever keeps it out of what is written and shown.
        references: Name to where it is to be had, for those that may change while the session lasts.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        credentials: Mapping[str, Credential],
        values: Mapping[str, str],
        references: Mapping[str, CredentialReference] = NONE_CHANGE,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = dict(credentials)
        self._references = dict(references)
        self._monotonic = monotonic
        self._fetched = dict.fromkeys(references, monotonic())
        self._fetching = asyncio.Lock()
        self._learn: Callable[[str, str], None] | None = None
        self.values = dict(values)

    def told_to(self, learn: Callable[[str, str], None]) -> None:
        """Have somebody told of each value that is fetched anew, before it is used.

        Args:
            learn: Takes name and value, as `audit.redact.Redactor.learn` does. Without it nothing is fetched
                again, for nobody would keep the new value out of the ledger.
        """
        if self._references:
            self._learn = learn

    async def find(self, name: str) -> Credential | None:
        """Return a credential, fetched again where it is old; None when the policy names none such."""
        if name in self._references and self._learn is not None:
            async with self._fetching:
                await self._refresh(name, self._references[name], self._learn)
        return self._credentials.get(name)

    async def _refresh(
        self, name: str, reference: CredentialReference, learn: Callable[[str, str], None]
    ) -> None:
        now = self._monotonic()
        if now - self._fetched[name] < FRESH_SECONDS:
            return
        self._fetched[name] = now
        try:
            value = await _value(name, reference)
        except InvalidInputError:
            return  # the old one may still hold; where it does not, the server says so
        if value != self.values[name]:
            learn(name, value)
            self.values[name] = value
            old = self._credentials[name]
            former = (*old.former, old.value)[-_FORMER:]
            self._credentials[name] = replace(reference.credential(value), former=former)


EMPTY: Final = Keyring({}, {})


async def keyring_for(
    policy: Policy,
    configured: Callable[[], Mapping[str, CredentialReference]],
    *,
    also: Iterable[EgressRule] = (),
) -> Keyring:
    """Fetch the credentials that a policy names, and those of the connectors that it offers.

    Args:
        policy: The policy in force.
        configured: Reads the operator's; asked only when one is named.
        also: The connectors' rules.

    Raises:
        InvalidInputError: When one is not configured, may not go to the rule's host, or has no usable value.
    """
    written = policy.network.allow if policy.network else ()
    rules = [rule for rule in (*written, *also) if rule.credential]
    if not rules:
        return EMPTY
    references, changing = configured(), dict[str, CredentialReference]()
    found: dict[str, Credential] = {}
    values: dict[str, str] = {}
    for rule in rules:
        name = rule.credential or ""
        reference = _reference(rule, references)
        if name not in found:
            values[name] = await _value(name, reference)
            found[name] = reference.credential(values[name])
            if reference.command is not None:
                changing[name] = reference
    return Keyring(found, values, changing)


def _reference(rule: EgressRule, references: Mapping[str, CredentialReference]) -> CredentialReference:
    name = rule.credential or ""
    reference = references.get(name)
    if reference is None:
        raise InvalidInputError(
            f"the rule for `{rule.host.text}` names credential `{name}`, which is not configured",
            hint=f"`credentials: {{{name}: {{env: NAME, hosts: [{rule.host.text}]}}}}` in config.yaml",
        )
    if not any(rule.host.meet(host) == rule.host for host in reference.hosts):
        hosts = ", ".join(host.text for host in reference.hosts)
        raise InvalidInputError(
            f"credential `{name}` may go to `{hosts}` only; the rule is for `{rule.host.text}`",
            hint="the operator's configuration names the hosts of a credential",
        )
    return reference


async def _value(name: str, reference: CredentialReference) -> str:
    try:
        value = (await fetch_key(reference)).value
    except ModelServerError as error:
        why = error.message.partition(": ")[2] or error.message
        raise InvalidInputError(f"credential `{name}` is not to be had: {why}") from error
    if len(value) < SHORTEST_SECRET:
        raise InvalidInputError(
            f"credential `{name}` has {len(value)} characters, expected at least {SHORTEST_SECRET}",
            hint="a shorter one cannot be kept out of the ledger: it is found in ordinary text",
        )
    return value
