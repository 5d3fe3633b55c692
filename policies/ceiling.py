"""The operator's ceiling: a file that can only take away. What it does not mention it does not limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from policies.block import Block
from policies.ceiling_blocks import (
    CeilingBudget,
    CeilingCommands,
    CeilingExec,
    CeilingFiles,
    CeilingIsolation,
    CeilingNetwork,
)
from policies.document import read_document
from policies.errors import BadValueError, CeilingError, ForbiddenGrantError, PolicyFileError, Problem, RuleAt
from policies.faults import problems_of, settings_without_value
from policies.files_block import FilesBlock
from policies.globs import canonical_path
from policies.lawful import unlawful
from policies.leaves import GrantField, VersionField, choice
from policies.meeting import ACCESS, RUNTIMES, strictest, union
from policies.network_block import EgressRule, NetworkBlock
from policies.request import ActionRequest, Reason
from policies.urls import canonical_url
from policies.wording import listed, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.capability import Capability
    from policies.exec_block import ExecBlock
    from policies.grant import Grant
    from policies.policy import Policy

Word = TypeVar("Word", bound=str)
Model = TypeVar("Model", bound=BaseModel)
_MEND: Final = "no policy, flag or approval exceeds the ceiling: do without it"


class Ceiling(Block):
    """What no policy, flag or environment variable can exceed."""

    version: VersionField = Field(description="the version of this format: 1")
    grants: tuple[GrantField, ...] | None = Field(
        default=None, description="the widest grants; a session's has to be within one; empty is only `none`"
    )
    files: CeilingFiles = Field(default=CeilingFiles(), description="the workspace")
    network: CeilingNetwork = Field(default=CeilingNetwork(), description="the hosts")
    exec: CeilingExec = Field(default=CeilingExec(), description="the programs")
    commands: CeilingCommands = Field(default=CeilingCommands(), description="the commands")
    sinks: Annotated[
        Literal["default", "strict"], *choice("where sinks are checked", "default", "strict")
    ] = Field(default="default", description="`strict`: always")
    isolation: CeilingIsolation = Field(default=CeilingIsolation(), description="the sandbox's size")
    budget: CeilingBudget = Field(default=CeilingBudget(), description="what a session may use up")

    _places: dict[str, RuleAt] = PrivateAttr(default_factory=dict)

    def place(self, key: str) -> RuleAt | None:
        """Find where a setting was written.

        Args:
            key: Its keys with dots between.

        Returns:
            The place, or None.
        """
        return self._places.get(key)

    def permits(self, grant: Grant) -> bool:
        """Tell whether a session may hold a grant.

        Args:
            grant: The session's.

        Returns:
            True when it is within one of the ceiling's, or those are not limited.
        """
        return self._covers(grant.capabilities)

    def _covers(self, capabilities: frozenset[Capability]) -> bool:
        within = self.grants is None or any(capabilities <= most.capabilities for most in self.grants)
        return within or not capabilities

    def reasons(self, request: ActionRequest) -> Iterator[Reason]:
        """Find what an action asks beyond the ceiling, whatever its policy says.

        Args:
            request: The action.

        Yields:
            Reasons with the code `ceiling`.
        """
        if not self._covers(request.needs):
            what = (
                f"action {quoted(request.name)} needs {listed(sorted(need.value for need in request.needs))}"
            )
            yield Reason("ceiling", f"{what}, beyond the operator's grants", _MEND, self.place("grants"))
        for pattern in self.commands.deny:
            if pattern.matches(request.command):
                what = f"command {quoted(request.name)} is denied by the operator"
                yield Reason("ceiling", what, _MEND, pattern.at)
        yield from self._paths(request)
        yield from self._requests(request)

    def _paths(self, request: ActionRequest) -> Iterator[Reason]:
        for use in request.paths:
            try:
                path = canonical_path(use.path)
            except BadValueError:
                continue  # the policy's own check denies it
            if glob := self.files.hidden.find(path):
                yield Reason("ceiling", f"path {quoted(path)} is hidden by the operator", _MEND, glob.at)
            elif use.access == "write" and (glob := self.files.protected.find(path)):
                yield Reason("ceiling", f"path {quoted(path)} is protected by the operator", _MEND, glob.at)
            elif use.access == "write" and self.files.access == "read":
                yield Reason("ceiling", "the operator allows no writing", _MEND, self.place("files.access"))

    def _requests(self, request: ActionRequest) -> Iterator[Reason]:
        for use in request.http:
            try:
                target = canonical_url(use.url, method=use.method)
            except BadValueError:
                continue  # the policy's own check denies it
            hosts, methods = self.network.hosts, self.network.methods
            if hosts is not None and not any(pattern.matches(target.host) for pattern in hosts):
                what = f"host `{target.host}` is beyond the operator's list"
                yield Reason("ceiling", what, _MEND, self.place("network.hosts"))
            for pattern in self.network.deny:
                if pattern.matches(target.host):
                    what = f"host `{target.host}` is denied by the operator"
                    yield Reason("ceiling", what, _MEND, pattern.at)
            if methods is not None and use.method not in methods:
                at = self.place("network.methods")
                yield Reason(
                    "ceiling", f"method {quoted(use.method)} is beyond the operator's list", _MEND, at
                )


def parse_ceiling(text: str, *, origin: str) -> Ceiling:
    """Make a ceiling from its text.

    Args:
        text: The whole file.
        origin: Its name.

    Returns:
        The ceiling.

    Raises:
        PolicyFileError: With every problem of the file.
        ForbiddenGrantError: When one of its grants asks for all three.
    """
    document = read_document(text, origin=origin)
    if not isinstance(document.value, dict):
        raise PolicyFileError(
            [Problem(document.at(()), "the file holds no block; expected `version: 1` and more")]
        )
    try:
        ceiling = Ceiling.model_validate(document.value)
    except ValidationError as exc:
        raise PolicyFileError(problems_of(exc, document, Ceiling)) from None
    except ForbiddenGrantError as exc:
        at = document.at(("grants",))
        raise ForbiddenGrantError(exc.capabilities, splits=exc.splits, at=at) from None
    if empty := settings_without_value(document, below=0):
        raise PolicyFileError(empty)
    ceiling._places = {".".join(map(str, path)): at for path, at in document.values_at.items()}  # noqa: SLF001 - its own maker
    return ceiling


def under_ceiling(policy: Policy, ceiling: Ceiling) -> Policy:
    """Narrow a policy to what the operator allows.

    Args:
        policy: A resolved policy.
        ceiling: The operator's.

    Returns:
        The policy in force: never wider than either.

    Raises:
        CeilingError: When its grant or its image is beyond the ceiling: those are not silently narrowed.
    """
    if not ceiling.permits(policy.grant):
        raise CeilingError(f"grant `{policy.grant.label}`", at=ceiling.place("grants"))
    narrowed = policy.replaced(
        files=policy.files and _files(policy.files, ceiling.files),
        network=policy.network and _network(policy.network, ceiling.network),
        exec=policy.exec and _exec(policy.exec, ceiling),
        commands=policy.commands.model_copy(
            update={"deny": union(policy.commands.deny, ceiling.commands.deny)}
        ),
        sinks="strict" if ceiling.sinks == "strict" else policy.sinks,
        isolation=_least(policy.isolation, ceiling.isolation).model_copy(
            update={"runtime": _stricter(RUNTIMES, policy.isolation.runtime, ceiling.isolation.runtime)}
        ),
        budget=_least(policy.budget, ceiling.budget),
    )
    if problems := unlawful(narrowed):
        raise PolicyFileError(problems)
    return narrowed


def _stricter(order: Sequence[Word], own: Word, most: Word | None) -> Word:
    return own if most is None else strictest(order, own, most)


def _least(block: Model, most: BaseModel) -> Model:
    bounds = {
        name: getattr(most, name) for name in type(most).model_fields if name in type(block).model_fields
    }
    numbers = {name: most for name, most in bounds.items() if isinstance(most, int | float)}
    return block.model_copy(update={name: min(getattr(block, name), most) for name, most in numbers.items()})


def _files(block: FilesBlock, most: CeilingFiles) -> FilesBlock:
    fields = {
        "access": _stricter(ACCESS, block.access, most.access),
        "hide": union(block.hide, most.hide),
        "protect": union(block.protect, most.protect),
    }
    return FilesBlock(**{**dict(block), **fields})


def _exec(block: ExecBlock, ceiling: Ceiling) -> ExecBlock:
    images = ceiling.exec.images
    if images is not None and block.image not in images:
        raise CeilingError(f"image `{block.image}`", at=ceiling.place("exec.images"))
    if block.programs.any_program and not ceiling.exec.any_program:
        raise CeilingError("`programs: any`", at=ceiling.place("exec.any_program"))
    return block


def _network(block: NetworkBlock, most: CeilingNetwork) -> NetworkBlock:
    rules = (narrowed for rule in block.allow for narrowed in _rules(rule, most))
    return NetworkBlock(
        allow=tuple(rules), deny=union(block.deny, most.deny), limits=_least(block.limits, most)
    )


def _rules(rule: EgressRule, most: CeilingNetwork) -> Iterator[EgressRule]:
    hosts = (
        [rule.host] if most.hosts is None else [both for host in most.hosts if (both := rule.host.meet(host))]
    )
    methods = rule.methods
    if most.methods is not None:
        methods = tuple(sorted(rule.effective_methods & set(most.methods)))
    if methods == ():
        return
    for host in hosts:
        fields = {
            "host": host,
            "methods": methods,
            "private": rule.private and most.private,
            "data": rule.data if most.data_public else None,
            "protocol": "web" if most.methods is not None else rule.protocol,
            "unfixed": rule.unfixed if not rule.host.is_wild or host.is_wild or rule.sink_pattern else "all",
        }
        yield EgressRule(**{**dict(rule), **fields})
