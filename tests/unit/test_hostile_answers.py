"""No answer of a hub or an index ends the daemon: whatever it is, it is used, or reported as a fault of its source."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containers.installer import supported_tags
from monitor.config.settings import Hub
from monitor.discovery.models import find_models
from monitor.domain import Compatibility, Release, Runtime
from monitor.errors import AskAgain, InfraError
from monitor.sources.bounds import parsed_json, plausible, reading, version_of
from monitor.sources.changes import Refs
from monitor.sources.git_refs import refs_of
from monitor.sources.hub import HubClient, Renamed
from monitor.sources.hub_answers import HubModel, parse_item, parse_list
from monitor.sources.hub_http import LONGEST_WAIT_S, HubAccess, wait_of
from monitor.sources.index import _files_of, compatibility_of, newest_wheel, releases_of, wheel_fits
from monitor.sources.web import Document, http_date
from tests.standins.hostile import SIMPLE, honest, hostile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standins.days import World

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
MANY = 10_000 if settings.default is not None and settings.default.max_examples >= 2000 else 60
TAGS = supported_tags("3.11")
SEEDS = st.integers(0, 1 << 64)  # of a chance of ours: a hostile answer has nothing to shrink


def page(body: bytes, kind: str = SIMPLE) -> Document:
    return Document(body, "http://index/simple/transformers/", kind, None, None)


def releases(*files: dict[str, Any]) -> tuple[Release, ...]:
    listed = [{"url": "x", "hashes": {}, **file} for file in files]
    body = json.dumps({"meta": {"api-version": "1.1"}, "name": "transformers", "files": listed}).encode()
    return releases_of(Runtime.TRANSFORMERS, _files_of(page(body), "transformers"))


@pytest.mark.timeout(3600)  # ten thousand examples take minutes
@settings(max_examples=MANY)
@given(SEEDS)
def test_whatever_an_index_answers_is_releases_or_a_fault_of_the_index(seed: int) -> None:
    answer = hostile(Random(seed), "/simple/transformers/")  # noqa: S311 - repeatable
    headers = dict(answer.headers)
    kind = headers["Content-Type"].partition(";")[0].strip().lower()
    http_date(headers["Date"])
    try:
        with reading("the page"):
            files = _files_of(page(answer.body, kind), "transformers")
    except InfraError:
        return
    for release in releases_of(Runtime.TRANSFORMERS, files):
        assert release.published_at.tzinfo is not None
        assert compatibility_of(release, python="3.11", tags=TAGS) in Compatibility
    newest_wheel(files, cutoff=NOW, tags=TAGS)


class AnyHub:
    """A hub whose every answer is hostile, at the wire: the client is the real one."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.hub = HubClient(HubAccess(endpoint="http://hub"), now=lambda: NOW, sleep=lambda _: None)
        transport = httpx.MockTransport(self.answer)
        self.hub._client.__dict__["_client"] = httpx.Client(transport=transport, follow_redirects=True)

    def answer(self, request: httpx.Request) -> httpx.Response:
        status, headers, body = hostile(self.chance, str(request.url.raw_path, "ascii"))
        encoded = [(name.encode(), text.encode("latin-1", errors="replace")) for name, text in headers]
        return httpx.Response(status, headers=encoded, stream=httpx.ByteStream(body), request=request)


@pytest.mark.timeout(3600)
@settings(max_examples=MANY if MANY > 1000 else 25)
@given(seed=SEEDS, hours=st.integers(0, 1000))
def test_whatever_a_hub_answers_discovery_goes_on(hub_world: World, seed: int, hours: int) -> None:
    wanted = Hub(organisations=("acme",), models=("acme/three",))
    now = NOW + timedelta(hours=hours)
    progress: Any = SimpleNamespace(message=lambda _: None)
    hub = AnyHub(Random(seed)).hub  # noqa: S311 - as above
    result = find_models(hub_world.store, hub, wanted, now, progress)
    assert result.again_at is None or result.again_at <= NOW + timedelta(hours=7)
    assert not [trouble for trouble in result.troubles if "its answer cannot be used" in trouble], (
        "left to the last net"
    )


@pytest.fixture(scope="module")
def hub_world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from monitor.store import open_store
    from tests.standins.days import World as Days

    folder: Path = tmp_path_factory.mktemp("hub")
    with open_store(folder) as store:
        yield Days(store)


@settings(max_examples=max(20, MANY // 10))
@given(st.binary(max_size=300))
def test_whatever_git_lists_is_refs(output: bytes) -> None:
    listing = output.decode(errors="replace")
    refs = refs_of(listing + f"\n{'a' * 40}\trefs/tags/{listing}")
    assert isinstance(refs, Refs)
    assert all(name.isprintable() for name in refs.targets)


@pytest.mark.parametrize(
    "text",
    ["garbage", "", "Mon, 01 Jan 1800 00:00:00 +1400", "Fri, 31 Dec 9999 23:59:59 -1200", "1 1 1 1 1", "\x00"],
)
def test_a_header_without_a_plausible_date_has_none(text: str) -> None:
    assert http_date(text) is None


def test_upload_times_without_a_zone_are_utc_and_odd_ones_are_none() -> None:
    name = "transformers-5.{}.0-py3-none-any.whl"
    (dated,) = releases(
        {"filename": name.format(0), "upload-time": "2026-04-01T10:00:00"},
        {"filename": name.format(1), "upload-time": "0001-01-01T00:00:00+14:00"},
        {"filename": name.format(2), "upload-time": "9999-12-31T23:59:59-12:00"},
    )
    assert (dated.version, dated.published_at) == ("5.0.0", datetime(2026, 4, 1, 10, tzinfo=UTC))
    mixed = releases(
        {"filename": name.format(0), "upload-time": "2026-04-01T10:00:00"},
        {"filename": "transformers-5.0.0.tar.gz", "upload-time": "2026-04-01T09:00:00Z"},
    )
    assert mixed[0].published_at == datetime(2026, 4, 1, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "a-1-" + "9" * 5000 + "x-py3-none-any.whl",
        "a-1-" + "-".join([".".join(["py3"] * 70)] * 3) + ".whl",
        "a-" + "9" * 5000 + "-py3-none-any.whl",
        "-----.whl",
        "",
    ],
)
def test_an_odd_name_of_a_wheel_fits_nowhere(name: str) -> None:
    assert not wheel_fits(name, TAGS)


def test_a_number_of_five_thousand_digits_is_no_version() -> None:
    assert version_of("9" * 5000) is None
    assert version_of(None) is None
    assert str(version_of("5.0.0")) == "5.0.0"


def test_json_is_parsed_to_a_depth() -> None:
    assert parsed_json(b"[" * 60 + b"]" * 60)
    for depth in (80, 900, 100_000):
        with pytest.raises(ValueError, match="nested too deeply"):
            parsed_json(b"[" * depth + b"]" * depth)


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z"])
def test_a_model_of_the_year_one_or_9999_is_a_problem_and_hides_no_other(created: str) -> None:
    good, _ = honest("/api/models")
    items, problems = parse_list(json.dumps([{**good[0], "createdAt": created}, good[1]]).encode(), HubModel)
    assert [item.id for item in items] == ["acme/two"]
    assert len(problems) == 1


def test_counts_fit_into_a_database() -> None:
    good, _ = honest("/api/models/acme/one")
    huge = {**good, "childrenModelCount": {"a": 1 << 62, "b": 1 << 62}}
    assert parse_item(json.dumps(huge).encode(), HubModel).derived == 1 << 62


def test_moments_are_utc_and_within_reason() -> None:
    assert plausible(datetime(2026, 4, 1)) == datetime(2026, 4, 1, tzinfo=UTC)  # noqa: DTZ001 - that is the case
    assert plausible(datetime.min.replace(tzinfo=UTC)) is None
    assert plausible(datetime.max.replace(tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "999999999"},
        {"retry-after": "9" * 400},
        {"ratelimit": f'"api";r=0;t={"9" * 400}'},
        {"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"},
    ],
)
def test_a_rate_limit_of_years_is_one_of_hours(headers: dict[str, str]) -> None:
    assert wait_of(headers, NOW) == LONGEST_WAIT_S


def test_a_long_rate_limit_names_its_day() -> None:
    class Limited(AnyHub):
        def answer(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(429, headers={"Retry-After": "999999999"}, request=request)

    with pytest.raises(AskAgain, match=r"on 2026-04-10 at 18:00:01 UTC") as caught:
        Limited(Random(0)).hub.models_of("acme")  # noqa: S311 - not used
    assert caught.value.at - NOW < timedelta(hours=7)


@pytest.mark.parametrize("location", ["http://[bad", "", "/elsewhere"])
def test_a_redirect_to_nowhere_is_a_fault_of_the_hub(location: str) -> None:
    class Moved(AnyHub):
        def answer(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(307, headers={"Location": location}, request=request)

    with pytest.raises(InfraError):
        assert isinstance(Moved(Random(0)).hub.model("acme/one"), Renamed)  # noqa: S311 - not used
