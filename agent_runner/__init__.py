"""Run sessions: ask the model, loop, resume, report. The only package that knows a model.

What is named here is the Python API (`agent_runner.api`); it is imported when it is first used, so that the
command line stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_runner.api import (
        aresume_session,
        arun_session,
        resume_request,
        resume_session,
        run_command,
        run_session,
        session_request,
    )
    from agent_runner.gateway.command import Ran
    from agent_runner.gateway.command import run_command as arun_command
    from agent_runner.request import SessionRequest, SessionResult
    from agent_runner.resume import ResumeRequest

__all__ = [
    "Ran",
    "ResumeRequest",
    "SessionRequest",
    "SessionResult",
    "aresume_session",
    "arun_command",
    "arun_session",
    "resume_request",
    "resume_session",
    "run_command",
    "run_session",
    "session_request",
]


def __getattr__(name: str) -> object:
    """Import the API when one of its names is used."""
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from agent_runner import api  # noqa: PLC0415 - heavy; only for programs that use the API

    return getattr(api, name)
