"""The `slack` commands that post, and what each needs: both real gates, Slack's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli_tools import slack
from cli_tools.action import Catalogue, LineProposal
from policies.capability import Capability
from policies.request import Allowed
from tests.cli_tools.door import open_door
from tests.cli_tools.slack.slack_server import CHANNELS, CI, Slack
from tests.cli_tools.slack.stand import BOTH, NETWORK, Hostile, standing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.egress.ground import Authority

REACT = "slack react --channel '#ci' --message 1.000001 --emoji eyes"
UPLOADED = f"uploaded a.txt, 7 bytes, to {CI} as F0123456789"


@pytest.mark.parametrize("url", [5, [], "\ud800", "https://["])
async def test_an_upload_to_what_is_no_url_ends_no_session(
    place: Path, authority: Authority, url: object
) -> None:
    (place / "workspace" / "report.txt").write_bytes(b"content")
    answer = {"ok": True, "upload_url": url, "file_id": "F1"}
    hostile = Hostile(to="files.getUploadURLExternal", answer=answer)
    async with standing(place, authority, answering=hostile) as stand:
        seen = await stand.door.line("slack upload --channel '#ci' report.txt")

    assert seen.text.startswith("error (")


async def test_a_post_is_plain_text_and_no_link_is_unfolded(place: Path, authority: Authority) -> None:
    """Unfolding makes Slack fetch a URL, which would carry out what it says; a mention calls people."""
    async with standing(place, authority) as stand:
        seen = await stand.door.line(
            "slack post --channel '#ci'", "<!channel> <https://evil/?q=secret|hi> & more"
        )

    assert seen.text == f"posted 1732250000.000100 in {CI}"
    (sent,) = stand.slack.posted
    assert sent["text"] == "&lt;!channel&gt; &lt;https://evil/?q=secret|hi&gt; &amp; more"
    assert (sent["unfurl_links"], sent["unfurl_media"], sent["parse"]) in {
        (False, False, "none"),
        ("0", "0", "none"),
    }


async def test_a_channel_that_the_policy_does_not_name_gets_nothing(
    place: Path, authority: Authority
) -> None:
    others = ("#general", CI, "#ci-archive", "@somebody", "D0000000001", "U0000000001")
    no_channels = ("ci ", "#ci,#general", "", "#ci\u200b", "##ci", "#\u0441i")
    async with standing(place, authority) as stand:
        seen = [await stand.door.tool("slack_post", channel=channel, text="x") for channel in others]
        wrong = [await stand.door.tool("slack_post", channel=channel, text="x") for channel in no_channels]
        named = await stand.door.tool("slack_post", channel="CI", text="x")

    assert [each.kind for each in wrong] == ["error"] * len(no_channels)
    assert [each.kind for each in seen] == ["denied"] * len(others)
    assert all("argument" in {reason.code for reason in each.reasons} for each in seen)
    assert named.kind == "done"
    assert len(stand.server.requests) == 1


async def test_without_a_rule_a_channel_needs_an_origin(place: Path, authority: Authority) -> None:
    """Where private things are read, nobody but the policy, the user or a person names a channel."""
    open_policy = BOTH.partition("  rules:")[0]
    async with standing(place, authority, open_policy) as stand:
        seen = await stand.door.line("slack post --channel '#ci' --text x")

    assert [reason.code for reason in seen.reasons] == ["origin"]
    assert stand.server.requests == []


async def test_a_session_with_network_alone_posts_and_reads_nothing(
    place: Path, authority: Authority
) -> None:
    async with standing(place, authority, NETWORK) as stand:
        posted = await stand.door.line("slack post --channel '#ci' --text x")
        reacted = await stand.door.line(f"slack react --channel {CI} --message 1.000001 --emoji :eyes:")
        by_name = await stand.door.line("slack react --channel '#ci' --message 1.000001 --emoji eyes")
        read = [
            await stand.door.line(line)
            for line in ("slack channels", "slack history --channel '#ci'", "slack search x")
        ]

    assert posted.kind == reacted.kind == "done"
    assert by_name.text.startswith("error (capability): without `files` no channel is looked up by its name")
    assert [[reason.code for reason in seen.reasons] for seen in read] == [["capability"]] * 3
    assert {request.path for request in stand.server.requests} == {
        "/api/chat.postMessage",
        "/api/reactions.add",
    }


async def test_a_reply_goes_into_its_thread(place: Path, authority: Authority) -> None:
    async with standing(place, authority) as stand:
        await stand.door.line("slack reply --channel '#ci' --thread 1.000001 --text yes")

    assert stand.slack.posted[0]["thread_ts"] == "1.000001"


async def test_a_reaction_is_put_on_a_message_and_a_second_one_is_told(
    place: Path, authority: Authority
) -> None:
    async with standing(place, authority) as stand:
        line = "slack react --channel '#ci' --message 1.000001 --emoji :eyes:"
        first, second = await stand.door.line(line), await stand.door.line(line)

    assert first.text == f"put :eyes: on 1.000001 in {CI}"
    assert second.text == "error (refused): slack refused: `already_reacted`"
    assert stand.slack.reactions == [{"channel": CI, "timestamp": "1.000001", "name": "eyes"}]


async def test_a_file_of_the_workspace_is_uploaded_whole(place: Path, authority: Authority) -> None:
    content = bytes(range(256)) * 8192  # 2 MiB
    (place / "workspace" / "a.bin").write_bytes(content)
    async with standing(place, authority) as stand:
        seen = await stand.door.line(
            "slack upload --channel '#ci' --comment '<!here> https://evil/?q=secret' a.bin"
        )

    assert seen.text == f"uploaded a.bin, {len(content)} bytes, to {CI} as F0123456789"
    assert stand.slack.uploads == {"a.bin": content}
    shared, comment = stand.slack.posted
    assert shared["channel_id"] == CI
    assert "initial_comment" not in shared
    assert (comment["channel"], comment["text"]) == (CI, "&lt;!here&gt; https://evil/?q=secret")
    assert (comment["unfurl_links"], comment["unfurl_media"]) in {(False, False), ("0", "0")}
    (upload,) = stand.server.asked("/upload/v1/a.bin")
    assert "authorization" not in {name.lower() for name in upload.headers}
    (finished,) = stand.door.entries("action.finished")
    assert [file["path"] for file in finished["files"]] == ["a.bin"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"ok": False, "error": "msg_too_long"}, "(refused): slack refused: `msg_too_long`"),
        ([], "(upstream): slack answered with status 200 and no reason"),
    ],
)
async def test_an_upload_whose_comment_is_refused_stands_as_done_and_says_so(
    place: Path, authority: Authority, answer: object, why: str
) -> None:
    """As an error it would be missing in the ledger, and tried again: the file would be there twice."""
    (place / "workspace" / "a.txt").write_text("content")
    hostile = Hostile(to="chat.postMessage", answer=answer)
    async with standing(place, authority, answering=hostile) as stand:
        seen = await stand.door.line("slack upload --channel '#ci' --comment hello a.txt")
    (finished,) = stand.door.entries("action.finished")

    assert (seen.kind, seen.text) == (
        "done",
        f"{UPLOADED}\nnote: the file is uploaded, its comment is not posted {why}",
    )
    assert stand.slack.uploads == {"a.txt": b"content"}
    assert [(file["path"], file["access"]) for file in finished["files"]] == [("a.txt", "read")]


async def test_a_comment_that_cannot_be_posted_after_its_upload_for_long_is_told(
    place: Path, authority: Authority
) -> None:
    (place / "workspace" / "a.txt").write_text("content")
    limited = Slack(limited=["", "", "", "", "", "3600"])  # three pages of channels, two calls for the file
    async with standing(place, authority, answering=limited) as stand:
        seen = await stand.door.line("slack upload --channel '#ci' --comment hello a.txt")

    assert seen.text.endswith("its comment is not posted (rate-limited): `slack` asks to wait 3600 s")


@pytest.mark.parametrize("comment", ["", " ", "\n\t"])
async def test_a_blank_comment_is_refused_before_anything_is_sent(
    place: Path, authority: Authority, comment: str
) -> None:
    (place / "workspace" / "a.txt").write_text("content")
    async with standing(place, authority) as stand:
        seen = await stand.door.tool("slack_upload", channel="#ci", comment=comment, path="a.txt")

    assert seen.text == "error (usage): the message is empty\nhint: give it some text"
    assert stand.server.requests == []


@pytest.mark.parametrize("line", ["slack upload --channel '#ci' a.txt", REACT])
async def test_a_name_that_two_channels_have_is_refused(place: Path, authority: Authority, line: str) -> None:
    """In an organisation of several workspaces the policy's `#ci` may be either, whichever page is first."""
    (place / "workspace" / "a.txt").write_text("content")
    another = {**CHANNELS[2], "id": "C0000000099"}
    twice = Slack(channels=[*CHANNELS, another])
    async with standing(place, authority, answering=twice) as stand:
        seen = await stand.door.line(line)

    assert seen.text == "error (refused): two channels are called `#ci`\nhint: give its id"
    assert {request.path for request in stand.server.requests} == {"/api/conversations.list"}


async def test_an_upload_never_goes_where_the_answer_points(place: Path, authority: Authority) -> None:
    """A server that names another place for a file does not get it sent there."""
    (place / "workspace" / "a.txt").write_text("secret")
    taken = Slack(upload_url="https://evil.example/upload/v1/x")
    async with standing(place, authority, answering=taken) as stand:
        seen = await stand.door.line("slack upload --channel '#ci' a.txt")

    assert seen.text.startswith("error (host): `evil.example` is none of the hosts allowed")
    assert taken.uploads == {}


async def test_a_file_that_is_hidden_or_missing_is_not_uploaded(place: Path, authority: Authority) -> None:
    (place / "workspace" / ".env").write_text("SECRET=1")
    async with standing(place, authority) as stand:
        hidden = await stand.door.line("slack upload --channel '#ci' .env")
        missing = await stand.door.line("slack upload --channel '#ci' none.txt")

    assert [reason.code for reason in hidden.reasons] == ["hidden"]
    assert missing.text.startswith("error (not-found)")
    assert stand.server.requests == []


@pytest.mark.parametrize(
    "line",
    [
        "slack history --channel '#ci' --thread ../x",
        "slack react --channel '#ci' --message 1 --emoji eyes",
        "slack react --channel '#ci' --message 1.000001 --emoji 'a b'",
        "slack react --channel '#ci' --message 1.000001 --emoji ''",
        "slack post --text x",
        "slack post --channel '#ci'",
        "slack history --channel '#ci' --limit 0",
    ],
)
def test_what_no_command_means_is_wrong_usage(line: str) -> None:
    from cli_tools.errors import UsageError

    with pytest.raises(UsageError):
        Catalogue(slack.COMMANDS).parse(LineProposal(line=line))


def test_what_reads_needs_files_and_network_and_what_only_posts_needs_network() -> None:
    needs = {command.name: command.needs for command in slack.COMMANDS}
    both, network = {Capability.FILES, Capability.NETWORK}, {Capability.NETWORK}

    assert needs == {
        "slack channels": both,
        "slack history": both,
        "slack search": both,
        "slack post": network,
        "slack reply": network,
        "slack react": network,
        "slack upload": both,
    }


def test_whatever_writes_names_its_channel_as_a_sink() -> None:
    assert {command.name: dict(command.sinks) for command in slack.COMMANDS if command.sinks} == {
        f"slack {word}": {"channel": "channel"} for word in ("post", "reply", "react", "upload")
    }


async def test_a_person_may_approve_a_channel(place: Path, authority: Authority) -> None:
    """The positive twin of a channel without an origin."""
    open_policy = BOTH.partition("  rules:")[0]
    async with standing(place, authority, open_policy, answer=Allowed()) as stand:
        seen = await stand.door.line("slack post --channel '#ci' --text x")

    assert seen.kind == "done"
    assert len(stand.slack.posted) == 1


async def test_a_session_without_the_connector_says_who_configures_it(place: Path) -> None:
    async with open_door(place, BOTH) as door:
        seen = await door.line("slack channels")

    assert seen.text.startswith("error (not-configured): connector `slack` is not configured")
