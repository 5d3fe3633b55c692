"""Ask a person about what a program wants to reach, where a rule of the policy says `ask`; time out is no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_runner.approvals import WAIT_SECONDS, ask_and_record
from agent_runner.question import Question, digest_of
from policies.request import Reason

if TYPE_CHECKING:
    from agent_runner.approvals import Asker
    from audit.journal import Journal
    from sandbox.egress.events import Decided

_NOT_SHOWN: Final = "what it sends beside its address is not shown"


class EgressApproval:
    """Ask, and write question and answer into the ledger.

    Args:
        journal: The session's ledger.
        session: The session's id.
        asker: Who puts the questions, one after the other.
        wait_seconds: How long an answer may take, the wait for other questions included.
    """

    def __init__(
        self, journal: Journal, session: str, asker: Asker, *, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._journal = journal
        self._session = session
        self._asker = asker
        self._wait_seconds = wait_seconds

    async def ask(self, wanted: Decided, query: str) -> str:
        """Return why it is not approved; empty when it is.

        Args:
            wanted: What is asked for.
            query: Its query, which the person sees and the ledger does not.
        """
        question = self._question(wanted, query)
        return await ask_and_record(self._journal, self._asker, question, wait_seconds=self._wait_seconds)

    def _question(self, wanted: Decided, query: str) -> Question:
        argv = ("connect", *((wanted.method,) if wanted.method else ()), _shown(wanted, query))
        about = f"a program asks for this, under the rule `{wanted.rule}`; {_NOT_SHOWN}"
        return Question(
            action=f"{self._session}/{wanted.connection}",
            argv=argv,
            body=None,
            digest=digest_of(argv, None),
            reasons=(Reason("host", about),),
        )


def _shown(wanted: Decided, query: str) -> str:
    host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    return f"{wanted.scheme}://{host}:{wanted.port}{wanted.path}{query}"
