"""Draw a report as one page of HTML that holds everything it needs and may reach nothing.

Two walls keep what an agent wrote from acting: everything is escaped where it is written (jinja2's
autoescape, text nodes in the script), and a content policy allows this one script and style sheet, by hash.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agent_runner.package import pairlock_version
from agent_runner.report import charts
from agent_runner.report.fold import UNREADABLE
from agent_runner.report.notable import notable
from agent_runner.report.quantity import duration, number, size
from agent_runner.report.times import COLUMNS
from agent_runner.report.visible import markup
from agent_runner.report.weight import loaded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_runner.listing import Row
    from agent_runner.report.gather import Report
    from agent_runner.report.step import Json
    from agent_runner.report.weight import Load

FOLDER: Final = Path(__file__).parent / "assets"
_UNSAFE_IN_SCRIPT: Final[dict[str, str | int | None]] = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def render(
    report: Report, *, live: str = "", home: str = "", kin: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the page of a report.

    Args:
        report: What it tells.
        live: Where, on the server that hands the page out, what comes later is told; empty for a file.
        home: Where that server lists the sessions; empty for a file.
        kin: Where the pages of sessions above and below it are, of those that have one.
    """
    policy, load = report.policy.policy, loaded(report.fold.steps.kept)
    if load.left_out:
        live = ""  # what comes later names steps by their places, which are others here
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            fold=report.fold,
            policy=policy,
            lanes=charts.lanes(report.fold),
            longest=charts.longest(report.fold),
            columns=COLUMNS,
            interruptions=charts.interruptions(report.fold),
            gauges=charts.gauges(report.fold, policy),
            box=(charts.WIDTH, charts.HEIGHT),
            told=data_block(_data(report, load, live)),
            load=load,
            notable=notable(report.fold.steps.kept),
            read_all=_read_all(report),
            holds_all=_holds_all(report, load),
            script=asset("report.js"),
            style=asset("report.css"),
            content_policy=content_policy("report.js", "report.css", live=bool(live)),
            version=pairlock_version(),
            home=home,
            kin=kin,
        )
    )


def _holds_all(report: Report, load: Load) -> bool:
    """Tell whether the page holds every step, from the first entry on, of a session whose ledger holds."""
    return _read_all(report) and not (report.fold.steps.left_out or load.left_out)


def _read_all(report: Report) -> bool:
    """Tell whether every entry was read, from the first one on, of a session whose ledger holds."""
    kinds = report.fold.kinds
    return kinds["log.opened"] > 0 and kinds[UNREADABLE] == 0 and report.verdict.level != "bad"


def render_list(rows: Sequence[Row], *, home: str, live: str) -> str:
    """Return the page that lists sessions, for a server.

    Args:
        rows: The sessions, oldest first.
        home: The path below which each has its page.
        live: Where it is told that a session began or ended.
    """
    return (
        environment()
        .get_template("list.html.j2")
        .render(
            rows=rows[::-1],
            home=home,
            told=data_block({"live": live}),
            script=asset("list.js"),
            style=asset("report.css"),
            content_policy=content_policy("list.js", "report.css", live=True),
            version=pairlock_version(),
        )
    )


def _data(report: Report, load: Load, live: str) -> Json:
    return {
        "session": report.session,
        "entries": report.fold.entries,
        "ms": report.fold.time.now_ms,
        "steps": load.steps,
        "files": [file.as_json() for file in report.stage.files],
        "live": live,
    }


def data_block(told: Json) -> Markup:
    """Return JSON that can stand in a script element: nothing in it can end the element or open another."""
    return Markup(orjson.dumps(told).decode().translate(str.maketrans(_UNSAFE_IN_SCRIPT)))  # noqa: S704 - just made safe


@cache
def asset(name: str) -> Markup:
    """Return a file that is written into pages as it is; it is ours."""
    return Markup((FOLDER / name).read_text("utf-8"))  # noqa: S704 - a file of this package


def content_policy(script: str, style: str, *, live: bool) -> str:
    """Return the content policy of a page: its own script and style sheet by hash, and nothing else.

    Args:
        script: The script's file.
        style: The style sheet's file.
        live: Whether it may ask the server that it came from.
    """
    connect = ["connect-src 'self'"] if live else []
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(asset(script))}'",
            f"style-src '{_hash(asset(style))}'",
            *connect,
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def environment() -> Environment:
    """Return the templates: undefined names raise, and every text is made visible and escaped."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"duration": duration, "number": number, "size": size}
    return made


def _finalize(value: object) -> object:
    return markup(value) if isinstance(value, str) and not isinstance(value, Markup) else value
