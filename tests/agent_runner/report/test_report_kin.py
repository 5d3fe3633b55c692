"""A report leads to those of the sessions above and below it, where there are any, and nowhere else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent_runner.report.kin import related, served, written_beside
from agent_runner.report.page import render
from audit import event
from audit.journal import Journal, Registration
from tests.agent_runner.report.reading import Page, report_of
from tests.agent_runner.report.test_report_server import exchanged, request, serving_of

if TYPE_CHECKING:
    from pathlib import Path

ABOVE, BELOW, GONE = "0123456789ab", "0123456789cd", "0123456789ef"
HOSTILE = '../../x"><script>alert(1)</script>javascript:alert(1)\u202e'


async def write(state: Path, session: str, *, parent: str | None = None, below: tuple[str, ...] = ()) -> None:
    """Write a session that was started by one and started others."""
    journal = Journal.create(
        state,
        session,
        registration=Registration(grant="files", workspace=None, owner_uid=os.getuid()),
        secrets_by_name={},
        writer="test",
        programs=False,
    )
    async with journal:
        await journal.record(
            event.SessionOpened(
                session=session,
                task=journal.commit("a task"),
                task_is_origin=False,
                grant="files",
                policy_origin="p",
                policy_digest="ab" * 32,
                workspace=None,
                model="m",
                backend="b",
                pairlock_version="1",
                headless=True,
                parent=parent,
            )
        )
        for child in below:
            await journal.record(
                event.SessionDelegated(
                    action=f"{session}/1", child=child, grant="files", policy_digest="ab" * 32
                )
            )


@pytest.fixture
async def family(tmp_path: Path) -> Path:
    """Return a state folder with a session and one below it; it names two more, of which none is there."""
    state = tmp_path / "state"
    await write(state, ABOVE, below=(BELOW, GONE, HOSTILE))
    await write(state, BELOW, parent=ABOVE)
    return state


def links(page: Page) -> set[str]:
    """Return where a page leads but to places of its own."""
    found = {told["href"] or "" for name, told in page.elements if name == "a" and "href" in told}
    return {href for href in found if not href.startswith("#")}


async def test_a_served_page_leads_up_and_down_to_what_is_there(family: Path) -> None:
    async with serving_of(family) as (door, _):
        pages = {}
        for session in (ABOVE, BELOW):
            status, _, body = await exchanged(door, request(door, f"{door.home}session/{session}"))
            assert status == 200
            pages[session] = Page(body.decode())

        down = f"{door.home}session/{BELOW}"
        assert links(pages[ABOVE]) == {door.home, down}
        assert links(pages[BELOW]) == {door.home, f"{door.home}session/{ABOVE}"}
        assert (await exchanged(door, request(door, down, cookie=False)))[0] == 403
    assert all(f"{name} " in pages[ABOVE].text for name in (BELOW, GONE, "javascript:alert(1)\\u202e"))
    assert "\u202e" not in pages[ABOVE].text


async def test_a_written_page_leads_to_those_beside_it(family: Path, tmp_path: Path) -> None:
    """Where names and titles tell whose they are; a link in the file's place, and another page, are none."""
    fold = report_of(family, ABOVE).fold
    below = tmp_path / f"a {BELOW}.html"
    below.write_text("<title>another page</title>")
    others = written_beside(related(fold), tmp_path / f"a {ABOVE}.html", session=ABOVE)
    below.write_text(render(report_of(family, BELOW)))
    (tmp_path / f"b {BELOW}.html").symlink_to(below)
    linked = written_beside(related(fold), tmp_path / f"b {ABOVE}.html", session=ABOVE)

    beside = written_beside(related(fold), tmp_path / f"a {ABOVE}.html", session=ABOVE)
    unnamed = written_beside(related(fold), tmp_path / "report.html", session=ABOVE)

    assert related(fold) == [BELOW, GONE, HOSTILE]
    assert (others, linked) == ({}, {})
    assert (beside, unnamed) == ({BELOW: f"./a%20{BELOW}.html"}, {})
    assert links(Page(render(report_of(family, ABOVE), kin=beside))) == {f"./a%20{BELOW}.html"}
    assert links(Page(render(report_of(family, ABOVE)))) == set()


def test_a_file_whose_name_is_no_text_has_an_address(tmp_path: Path) -> None:
    """Byte by byte, as the file system has it: the report ended as a fault of ours."""
    (tmp_path / f"\udcff {BELOW}.html").write_text(f"<title>pairlock session {BELOW}</title>")

    target = tmp_path / f"\udcff {ABOVE}.html"

    assert written_beside([BELOW], target, session=ABOVE) == {BELOW: f"./%FF%20{BELOW}.html"}


def test_a_name_that_is_no_sessions_makes_no_address(tmp_path: Path) -> None:
    assert served([HOSTILE, BELOW], {BELOW}, home="/h/") == {BELOW: f"/h/session/{BELOW}"}
    assert written_beside([HOSTILE, "../a"], tmp_path / f"{ABOVE}.html", session=ABOVE) == {}
