"""What goes wrong around a probe is ours: a full disk, an index that goes away, an engine that dies."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contract.proxy import SOCKET, Proxy
from tests.specimens.failing_index import FailingIndex
from tests.specimens.product import absent, answered
from tests.specimens.test_specimens import CONTROL, RUNTIME, SUBJECT, Expected, hold, probe_with, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.specimens.product import Product

pytestmark = [pytest.mark.engine, pytest.mark.index, pytest.mark.slow]

SMALL = 96 << 20


def test_the_index_goes_away_in_the_middle_of_an_installation(product: Product) -> None:
    with FailingIndex() as index:
        # another set of packages than any that is installed already, so that wheels have to be fetched
        install = {**product.configuration["install"], "extra": ["six"]}
        answer = product.ask("probe", SUBJECT, install={**install, "index_url": index.url, "no_proxy": "127.0.0.1"})
        assert index.wheels_asked_for > 0
    hold(product, answer, SUBJECT, Expected("unknown", "installs", "infra-network", "infra"))


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    if os.getuid() != 0:
        pytest.skip("only root can mount a small volume")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0755", "tmpfs", str(folder)],  # noqa: S607 - where mount lies is the system's business
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        absent(f"no small volume can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - as above


def test_the_disk_is_full(product: Product, small_volume: Path) -> None:
    small = replace(product, home=small_volume / "home")
    answer = small.ask("probe", SUBJECT)
    hold(small, answer, SUBJECT, Expected("unknown", "installs", "infra-disk", "infra"))
    assert small.leftovers() == []


@pytest.mark.parametrize("room", [0, 1 << 20], ids=["from the start", "soon"])
def test_nothing_can_be_written(product: Product, small_volume: Path, room: int) -> None:
    """Not even that it failed can be recorded: a sentence, and no traceback."""
    small = replace(product, home=small_volume / "home")
    with (small_volume / "ballast").open("wb") as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(1 << 20))
            ballast.flush()
    os.truncate(small_volume / "ballast", (small_volume / "ballast").stat().st_size - room)
    answer = small.ask("probe", SUBJECT)
    assert (answer.exit_code, answer.data) == (5, None)
    # where the room ends is no matter: it is said in a sentence, and what to do
    assert re.search(r"^settle: .*(the disk is full|No space left on device)", answer.said, re.MULTILINE), answer.said
    assert "hint: free some space" in answer.said
    assert "Traceback" not in answer.said


def test_there_is_too_little_room_to_begin(product: Product) -> None:
    install = {**product.configuration["install"], "extra": ["six"]}
    answer = product.ask("probe", SUBJECT, install=install, disk={"floor_gib": 1 << 20, "budget_gib": 1})
    hold(product, answer, SUBJECT, Expected("unknown", "installs", "infra-disk", "infra"))
    assert "are free for environments" in answer.settled(SUBJECT)["reason"]


@pytest.fixture
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    if not Path(SOCKET).exists():
        absent("docker does not listen where it usually does")
    # the path of a socket must be short
    proxy = Proxy(tmp_path_factory.mktemp("engine") / "s")
    yield proxy
    proxy.close()


def test_the_engine_dies_in_the_middle_of_a_probe(product: Product, proxy: Proxy) -> None:
    # a subject that hangs cannot be done before the line is cut; six makes it an environment that nothing is known of
    packages = ["settle-specimen-hang", "six"]
    install = {**product.configuration["install"], "extra": packages, "exempt": packages[:1]}
    process, by_hand = product.start(
        "probe", SUBJECT, env={"DOCKER_HOST": f"unix://{proxy.path}"}, install=install, limits={"check_seconds": 120}
    )
    said = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if f"{SUBJECT}: loads.parts" in line:  # the next check is the one that hangs
            proxy.cut()
            break
    else:
        process.wait(timeout=120)
        pytest.fail("the check before the one that hangs was never reached:\n" + "".join(said))
    out, rest = process.communicate(timeout=120)
    answer = answered(by_hand, process.returncode, "".join(said) + rest, out, 0.0)

    # what was seen last: with a dead engine not even the import was reached
    hold(product, answer, SUBJECT, Expected("unknown", "installs", "infra-engine", "infra"))
    assert verdicts(answer, SUBJECT) == ["unknown"] * 3
    assert "loads.reload: docker: " in answer.runs(SUBJECT)[0]["reason"]
    assert verdicts(answer, CONTROL) == ["works"]
    assert len(product.containers()) == 1, "the container of the dead engine should still be there"

    again = product.ask("probe", SUBJECT)
    assert "removed what an earlier run left behind: container" in again.said
    hold(product, again, SUBJECT, Expected("works"))


@pytest.mark.parametrize("package", ["segfault", "import-error", "deep-folders"])
def test_plain_processes_give_the_same_verdicts(process_product: Product, package: str) -> None:
    specimen = next(one for one in RUNTIME if one.package == package)
    answer = probe_with(process_product, specimen)
    hold(process_product, answer, SUBJECT, specimen.expected)
    assert verdicts(answer, CONTROL)[0] == specimen.control
    assert all(run["cell"].endswith("-process") for run in answer.data["runs"])
