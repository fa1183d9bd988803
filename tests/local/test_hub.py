"""The hub is asked over the wire, and what it answers badly, slowly or not at all is told as what it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from monitor.config.load import load_config
from monitor.errors import AskAgain, InfraError, NoAnswer
from monitor.sources.hub import Gone, HubClient, Refused, Renamed
from monitor.sources.hub_answers import HubModel
from monitor.sources.hub_http import DEFAULT_HUB, HubAccess, hub_access, wait_of
from tests.standins import hub as standin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
WEIGHTS = bytes(range(256)) * 40


class Asking:
    """A stand-in hub, the client under test, and the pauses it wanted to make."""

    def __init__(self, served: standin.Hub) -> None:
        self.served = served
        self.pauses: list[float] = []
        self.hub = HubClient(HubAccess(endpoint=served.url), now=lambda: NOW, sleep=self.pauses.append)


@pytest.fixture
def asking() -> Iterator[Asking]:
    with standin.Hub(page=2) as served:
        for day in range(1, 6):
            files = {"config.json": b"{}", "model.safetensors": WEIGHTS}
            served.publish(f"acme/m{day}", files, NOW - timedelta(days=10 - day), likes=day)
        found = Asking(served)
        yield found
        found.hub.close()


def test_an_organisation_is_read_page_by_page_newest_first_with_no_call_an_item(asking: Asking) -> None:
    found, wrong = asking.hub.models_of("acme")
    assert [one.id for one in found] == ["acme/m5", "acme/m4", "acme/m3", "acme/m2", "acme/m1"]
    assert [one.likes for one in found] == [5, 4, 3, 2, 1]
    assert wrong == []
    assert len(asking.served.asked) == 3


def test_one_malformed_entry_hides_none_of_the_others(asking: Asking) -> None:
    asking.served.publish("acme/odd", {"a": b""}, NOW, downloads="many")
    asking.served.publish("acme/evil", {"a": b""}, NOW, tags=["x" * 1000])
    found, wrong = asking.hub.models_of("acme")
    assert len(found) == 5
    assert sorted(line.split(":")[0] for line in wrong) == ["'acme/evil'", "'acme/odd'"]


@pytest.mark.parametrize("body", [b"", b"<html>sign in</html>", b"{}", b"[[[", b"null"])
def test_what_is_no_list_is_said_to_be_none(asking: Asking, body: bytes) -> None:
    asking.served.fail("/api/models", 200, body=body)
    with pytest.raises(InfraError, match="is no list"):
        asking.hub.models_of("acme")


def test_a_model_is_found_moved_or_gone(asking: Asking) -> None:
    asking.served.rename("acme/m1", "other/one")
    asking.served.delete("acme/m2")
    asking.served.repositories["acme/m3"].private = True
    assert asking.hub.model("acme/m1") == Renamed("other/one")
    assert asking.hub.model("acme/m2") == Gone()
    assert asking.hub.model("acme/m3") == Gone()
    assert isinstance(asking.hub.model("acme/m4"), HubModel)


def test_a_server_that_only_fails_to_find_a_model_does_not_make_it_vanish(asking: Asking) -> None:
    for status in (404, 401, 403):  # a proxy's, a mirror's that wants a password
        asking.served.fail("/api/models/acme/m4", status)
        with pytest.raises(InfraError, match=f"answers {status}"):
            asking.hub.model("acme/m4")


def test_what_a_stranger_writes_moves_no_terminals_cursor(asking: Asking) -> None:
    asking.served.publish("acme/odd", {"a": b""}, NOW, tags=["license:\x1b[31mfree"], pipeline_tag="\ntext")
    asking.served.publish("acme/evil", {"a": b""}, NOW, safetensors={"total": "\x1b[2J"}, downloads={"\x1b": "\x1b"})
    found, wrong = asking.hub.models_of("acme")
    (odd,) = [one for one in found if one.id == "acme/odd"]
    assert (odd.license, odd.pipeline_tag) == ("?[31mfree", "?text")
    assert wrong
    assert all(line.isprintable() for line in wrong)


def test_a_token_that_the_hub_does_not_know_makes_no_model_vanish(asking: Asking) -> None:
    said = {"X-Error-Message": "Invalid credentials in Authorization header"}
    asking.served.fail("/api/models/acme/m4", 401, headers=said)
    with pytest.raises(InfraError, match="does not know this token"):
        asking.hub.model("acme/m4")


def test_a_short_rate_limit_is_waited_for_and_a_long_one_told(asking: Asking) -> None:
    asking.served.fail("/api/models", 429, headers={"RateLimit": '"api";r=0;t=7'})
    assert len(asking.hub.models_of("acme")[0]) == 5
    assert asking.pauses == [8.0]
    asking.served.fail("/api/models", 429, headers={"RateLimit": '"api";r=0;t=290'})
    with pytest.raises(AskAgain) as caught:
        asking.hub.models_of("acme")
    assert caught.value.at == NOW + timedelta(seconds=291)


def test_a_rate_limit_says_how_long_in_one_of_three_ways() -> None:
    assert wait_of({"ratelimit": '"api";r=0;t=55', "retry-after": "3"}, NOW) == 55
    assert wait_of({"retry-after": "3"}, NOW) == 3
    assert wait_of({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, NOW) == 90
    assert wait_of({"retry-after": "soon"}, NOW) == 60
    assert wait_of({}, NOW) == 60


def test_a_passing_failure_is_asked_again_and_a_lasting_one_told(asking: Asking) -> None:
    asking.served.fail("/api/models", 500, times=2)
    assert len(asking.hub.models_of("acme")[0]) == 5
    asking.served.fail("/api/models", 502, times=3)
    with pytest.raises(NoAnswer, match="answers 502"):
        asking.hub.models_of("acme")


def test_a_hub_that_is_not_there_is_no_answer() -> None:
    with standin.Hub() as served:
        url = served.url
    with pytest.raises(NoAnswer, match="does not answer"):
        HubClient(HubAccess(endpoint=url), sleep=lambda _: None).models_of("acme")


def test_files_come_whole_from_where_the_hub_keeps_them_or_from_a_byte_on(asking: Asking) -> None:
    revision = asking.served.repositories["acme/m1"].commits[-1].id
    assert asking.hub.file("acme/m1", revision, "model.safetensors", limit=1 << 20) == WEIGHTS
    with asking.hub.open("acme/m1", revision, "model.safetensors", start=10_000) as opened:
        assert not isinstance(opened, Refused)
        assert (opened.start, b"".join(opened.chunks)) == (10_000, WEIGHTS[10_000:])


def test_a_file_that_may_not_be_read_says_why(asking: Asking) -> None:
    asking.served.gate("acme/m1")
    assert asking.hub.file("acme/m1", "main", "config.json", limit=100) == Refused(
        "gated: its files cannot be read with this token"
    )
    assert asking.hub.file("acme/m2", "main", "nothing.json", limit=100) == Refused("there is no nothing.json")
    larger = asking.hub.file("acme/m2", "main", "model.safetensors", limit=100)
    assert larger == Refused("model.safetensors is larger than 100 bytes")


def test_a_token_is_shown_to_the_hub_and_to_nobody_it_sends_us_to(asking: Asking) -> None:
    with standin.Hub() as elsewhere:
        told = {"Location": f"http://localhost:{elsewhere.port}/cdn/abc"}
        asking.served.fail("/acme/m1/resolve", 302, headers=told)
        asking.served.fail(
            "/api/models", 200, body=b"[]", headers={"Link": f'<{elsewhere.url}/api/models>; rel="next"'}
        )
        hub = HubClient(HubAccess(endpoint=asking.served.url, token="secret"), sleep=lambda _: None)  # noqa: S106 - a test's
        hub.file("acme/m1", "main", "model.safetensors", limit=1)
        hub.models_of("acme")
        hub.close()
        assert asking.served.shown == {"secret"}
        assert elsewhere.asked == ["GET /cdn/abc"]
        assert elsewhere.shown == set()


def test_a_name_that_is_none_is_never_made_an_address(asking: Asking) -> None:
    for name in ("../secrets", "a/b/c", "a?b", ""):
        with pytest.raises(InfraError, match="no name of a model"):
            asking.hub.model(name)
    assert asking.served.asked == []


def test_a_tree_that_leads_out_is_refused(asking: Asking) -> None:
    revision = asking.served.publish("acme/m1", {"../../etc/passwd": b""}, NOW)
    with pytest.raises(InfraError, match="list of acme/m1's files"):
        asking.hub.tree("acme/m1", revision)


def test_endpoint_and_token_come_from_the_file_then_from_what_other_tools_read(tmp_path: Path) -> None:
    file = tmp_path / "settle.toml"
    file.write_text('[hub]\nendpoint = "https://mirror.example"\ntoken = "own"\n[install]\nno_proxy = "a.example, b"\n')
    own = load_config(file, {})
    env = {"HF_ENDPOINT": "https://hf.example", "HTTPS_PROXY": "http://p:1", "HF_TOKEN_PATH": str(tmp_path / "token")}
    (tmp_path / "token").write_text("kept\n")
    said = hub_access(own, env)
    assert (said.endpoint, said.token) == ("https://mirror.example", "own")
    assert (said.network.https_proxy, said.network.no_proxy) == ("http://p:1", "a.example, b")
    assert "own" not in repr(own) + repr(said)
    plain = load_config(None, {"XDG_CONFIG_HOME": str(tmp_path)})
    assert hub_access(plain, env) == replace(hub_access(plain, {**env, "HF_TOKEN_PATH": ""}), token="kept")  # noqa: S106
    assert [hub_access(plain, env | {"HF_TOKEN": one}).token for one in ("said", " ")] == ["said", "kept"]
    bare = hub_access(plain, {"HF_HOME": str(tmp_path / "none")})
    assert (bare.endpoint, bare.token) == (DEFAULT_HUB, "")
