"""Sessions with `exec` run the programs of any image: none, static, musl, without Python, by name or id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.promises.conftest import lab  # noqa: F401 - the fixture
from tests.sandbox.images.made import Put, busybox, folder, image, musl_loader, run_docker

if TYPE_CHECKING:
    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine

RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]
POLICY = """
version: 1
name: kinds
grant: [{grant}]
exec: {{image: "{image}", programs: any}}
commands: {{allow: [run]}}
isolation: {{runtime: {runtime}}}
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_image_with_one_static_program_and_no_libc(lab: Lab, runtime: str) -> None:  # noqa: F811 - the fixture
    """A shell, no Python; what it writes stays in the scratch folder."""
    with image(*busybox()) as name:
        ran = lab.run(
            POLICY.format(image=name, runtime=runtime, grant="exec"),
            ["run -- sh -c 'echo here; touch /tmp/x; touch /bin/x'", "run python3 -c 1"],
        )

    assert "here" in ran.seen[0].text
    assert "/tmp/x" not in ran.seen[0].text
    assert "touch: /bin/x: " in ran.seen[0].text  # gVisor says that permission is denied
    assert (ran.seen[1].kind, "not-found" in ran.seen[1].text) == ("error", True)
    assert ran.entries("sandbox.attested")[0]["verdict"] == "as granted"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_musl_image(lab: Lab, runtime: str) -> None:  # noqa: F811 - the fixture
    """Its C library, started as the program that it is too, beside the guest's own glibc."""
    loader = musl_loader()
    with image(folder("lib"), Put(f"lib/{loader.name}", loader.read_bytes())) as name:
        ran = lab.run(POLICY.format(image=name, runtime=runtime, grant="exec"), [f"run /lib/{loader.name}"])

    assert "musl libc" in ran.seen[0].text
    assert ran.entries("sandbox.attested")[0]["verdict"] == "as granted"


def test_an_image_without_anything(lab: Lab) -> None:  # noqa: F811 - the fixture
    """There is nothing to run, and the session stands all the same."""
    with image(folder("empty")) as name:
        ran = lab.run(
            POLICY.format(image=name, runtime="runc", grant="exec"), ["run id", "run /rt/bin/python3 -c 1"]
        )

    assert [(seen.kind, "not-found" in seen.text) for seen in ran.seen[:1]] == [("error", True)]
    assert ran.result.status == "done"


def test_an_image_by_its_id_with_files(lab: Lab) -> None:  # noqa: F811 - the fixture
    """An id needs no name, and never moves."""
    with image(*busybox(), changes=("USER root", "WORKDIR /nowhere", 'CMD ["/bin/false"]')) as name:
        image_id = run_docker("image", "inspect", "--format", "{{.Id}}", name)
        ran = lab.run(
            POLICY.format(image=image_id, runtime="runc", grant="files, exec"),
            ["run -- sh -c 'id -u; cat note'"],
            workspace=lab.workspace(note="hello"),
        )

    assert ran.seen[0].text.splitlines()[-1] == "hello"
    assert ran.seen[0].text.splitlines()[0] != "0"
    assert ran.entries("sandbox.created")[0]["image_digest"] == image_id


@pytest.mark.parametrize("grant", ["files", "network", ""])
def test_a_session_without_exec_has_the_empty_image(lab: Lab, grant: str) -> None:  # noqa: F811 - the fixture
    """A policy cannot even name one; the ledger has the empty image and no name."""
    text = f"version: 1\nname: none\ngrant: [{grant}]\ncommands: {{allow: []}}\n"

    ran = lab.run(text, [], workspace=lab.workspace() if grant == "files" else None)

    created = ran.entries("sandbox.created")[0]
    layers = run_docker("image", "inspect", "--format", "{{.Size}}", created["image_digest"])
    assert (created["image_name"], layers) == ("", "0")
