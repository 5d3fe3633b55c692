"""Write results as JUnit XML, for a CI's test view. Pure: text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from policies.wording import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.errors import RuleAt


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that was looked at. Every text is escaped here.

    Attributes:
        name: What was looked at.
        failure: What was found instead; empty when it holds.
        error: Why nothing could be found out; empty when something was.
        skipped: Why it was not looked at; empty when it was.
        output: What it wrote, in lines.
        at: Where it was asked for.
        seconds: How long it took; zero is not told.
    """

    name: str
    failure: str = ""
    error: str = ""
    skipped: str = ""
    output: str = ""
    at: RuleAt | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What was looked at together.

    Attributes:
        name: Of what.
        cases: What was looked at, in order.
        output: What else there is to say, a line each.
        seconds: How long it took; zero is not told.
    """

    name: str
    cases: Sequence[Case]
    output: Sequence[str] = ()
    seconds: float = 0.0


def junit_xml(name: str, suites: Sequence[Suite]) -> str:
    """Write suites as JUnit XML.

    Args:
        name: What ran them.
        suites: The suites.

    Returns:
        XML.
    """
    root = ET.Element("testsuites", name=name)
    for suite in suites:
        _suite(root, suite)
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ET.Element, suite: Suite) -> None:
    made = ET.SubElement(
        root,
        "testsuite",
        name=escaped(suite.name),
        tests=str(len(suite.cases)),
        failures=str(sum(bool(case.failure) for case in suite.cases)),
        errors=str(sum(bool(case.error) for case in suite.cases)),
        skipped=str(sum(bool(case.skipped) for case in suite.cases)),
    )
    if suite.seconds:
        made.set("time", f"{suite.seconds:.3f}")
    for case in suite.cases:
        _case(made, suite.name, case)
    if suite.output:
        ET.SubElement(made, "system-out").text = "\n".join(map(_shown, suite.output))


def _case(suite: ET.Element, where: str, case: Case) -> None:
    made = ET.SubElement(suite, "testcase", classname=escaped(where), name=escaped(case.name))
    if case.at:
        made.set("file", escaped(case.at.origin))
        made.set("line", str(case.at.line))
    if case.seconds:
        made.set("time", f"{case.seconds:.3f}")
    for kind in ("failure", "error", "skipped"):
        if text := getattr(case, kind):
            ET.SubElement(made, kind, message=_shown(text.replace("\n", "; ")))
    if case.output:
        ET.SubElement(made, "system-out").text = "\n".join(map(_shown, case.output.splitlines()))


def _shown(line: str) -> str:
    return escaped(line).replace("\\u{60}", "`")
