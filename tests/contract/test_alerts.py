"""Alerts against a real mail server and webhook: killed anywhere, nothing is lost, and what comes twice says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from monitor.alerts.message import REPETITION, message
from monitor.alerts.sending import Arrival, send
from monitor.alerts.steps import MOST_ATTEMPTS, send_alerts, write_alerts
from monitor.alerts.values import Alert, Item, Kind
from monitor.config.load import load_config
from monitor.domain import Severity
from monitor.progress import ConsoleProgress
from monitor.store import open_store
from tests.contract.receivers import Received, mail_server, webhook
from tests.contract.teller import LATER
from tests.standins.days import FIRST, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from monitor.config.settings import Config
    from monitor.store import Store

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 4, 3, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def hook() -> Iterator[Received]:
    with webhook() as received:
        yield received


@pytest.fixture
def mail() -> Iterator[Received]:
    with mail_server() as received:
        yield received


def write_config(file: Path, *targets: Mapping[str, object]) -> Path:
    """Write a configuration with these targets; JSON's strings and lists are TOML's."""
    lines = ["[alerts]", "digest_hour = 23", 'link_base = "https://settle.example"']
    for target in targets:
        lines += ["[[alerts.targets]]", *(f"{key} = {json.dumps(value)}" for key, value in target.items())]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def settings(file: Path) -> Config:
    return load_config(file, {"SETTLE_HOME": str(file.parent / "home")})


def web(received: Received, path: str = "told", **options: object) -> dict[str, object]:
    return {"name": "web", "url": f"json://127.0.0.1:{received.port}/{path}?rto=1", **options}


def post(received: Received, **options: object) -> dict[str, object]:
    return {"name": "post", "url": f"mailto://127.0.0.1:{received.port}?from=a@b.example&to=c@d.example", **options}


def break_something(home: Path, config: Path, story: str = "WWB") -> None:
    """Live a history with one flip in it, of which nobody has been told."""
    with open_store(home) as store:
        world = World(store)
        assert write_alerts(store, settings(config).alerts, datetime.combine(FIRST, datetime.min.time(), UTC)) == 0
        world.live(story)


def tell(store: Store, config: Path, now: datetime) -> int:
    write_alerts(store, settings(config).alerts, now)
    return send_alerts(store, settings(config).alerts, now, ConsoleProgress(), env=os.environ)


def states(home: Path) -> list[tuple[str, int, int]]:
    with open_store(home) as store:
        found = store.outbox.letters(most=99)
        return [(row["state"], row["attempts"], row["may_have_arrived"]) for row in reversed(found)]


def run_teller(how: str, home: Path, config: Path, now: datetime, out: IO[str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.contract.teller", how, str(home), str(config), now.isoformat()]
    return subprocess.Popen(command, cwd=ROOT, stdout=out, text=True)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_killed_at_any_statement_to_the_database_nothing_is_lost_and_what_comes_twice_says_so(
    hook: Received, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    config = write_config(tmp_path / "c.toml", web(hook, "{n}"))
    break_something(home, config, "WWBBBBBBBW")  # two flips far enough apart: two messages
    with (tmp_path / "told.txt").open("w+", encoding="utf-8") as out:
        assert run_teller("everywhere", home, config, datetime(2026, 4, 10, 6, tzinfo=UTC), out).wait() == 0
        out.seek(0)
        told = out.read().splitlines()
    assert told[-1].endswith("lived")
    assert len(told) > 20, told
    undisturbed = {one["title"] for one in hook.posts[f"/{len(told) - 1}"]}
    assert len(undisturbed) == 2
    repeated = 0
    for number in range(len(told)):
        posts = hook.posts[f"/{number}"]
        plain = Counter(one["title"] for one in posts if REPETITION not in one["title"])
        marked = Counter(one["title"].replace(f" ({REPETITION})", "") for one in posts if REPETITION in one["title"])
        assert set(plain) | set(marked) == undisturbed, number  # nothing is lost
        assert set(plain.values()) <= {1}, number  # and nothing comes twice
        assert set(marked.values()) <= {1}, number
        repeated += sum(marked.values())
        assert not {state for state, _, _ in states(home.with_name(f"home-{number}"))} - {"sent"}
    assert repeated >= 2  # a death between sending and writing that down is what nobody can know


@pytest.mark.parametrize("point", ["asked", "read", "kept", "answered"])
def test_killed_at_any_point_of_posting(hook: Received, tmp_path: Path, point: str) -> None:
    kill_at(point, hook, write_config(tmp_path / "c.toml", web(hook)), arrives=None if point == "asked" else True)


@pytest.mark.parametrize("point", ["asked", "MAIL", "RCPT", "read", "kept", "answered"])
def test_killed_at_any_point_of_mailing(mail: Received, tmp_path: Path, point: str) -> None:
    arrives = point in {"read", "kept", "answered"}
    kill_at(point, mail, write_config(tmp_path / "c.toml", post(mail)), arrives=arrives)


def kill_at(point: str, received: Received, config: Path, *, arrives: bool | None) -> None:
    """Kill where ``point`` is reached; ``arrives`` is None where the message may be on its way by then, or not."""
    home = config.parent / "home"
    break_something(home, config)
    process = run_teller("once", home, config, NOW)

    def kill(reached: str) -> None:
        if reached == point:
            process.kill()
            process.wait()

    received.hook = kill
    assert process.wait(60) in {0, -9}  # who is killed after the answer may have ended before
    received.hook = lambda _: None
    [(state, attempts, _)] = states(home)
    assert (state, attempts) in {("claimed", 1), ("sent", 1)}
    assert state == "claimed" or point == "answered"
    again = run_teller("once", home, config, NOW + LATER)
    assert again.wait(60) == 0
    assert {row[0] for row in states(home)} == {"sent"}
    first = [one for one in received.titles if REPETITION not in one]
    marked = [one for one in received.titles if REPETITION in one]
    assert len(first) == arrives or (arrives is None and len(first) <= 1)
    assert len(marked) == (0 if state == "sent" else 1)
    assert first or marked
    once_more = run_teller("once", home, config, NOW + 2 * LATER)
    assert once_more.wait(60) == 0
    assert len(received.titles) == len(first) + len(marked)


def test_what_is_refused_is_tried_again_later_and_comes_once_without_a_doubt(hook: Received, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", web(hook))
    home = tmp_path / "home"
    break_something(home, config)
    hook.hook = lambda point: 503 if point == "read" else None
    with open_store(home) as store:
        assert tell(store, config, NOW) == 0
        assert tell(store, config, NOW + timedelta(seconds=30)) == 0  # too early
    assert states(home) == [("failed", 1, 0)]
    hook.hook = lambda _: None
    with open_store(home) as store:
        assert tell(store, config, NOW + HOUR) == 1
        assert tell(store, config, NOW + 2 * HOUR) == 0
        [row] = store.outbox.letters(most=9)
    assert row["problem"] == ""
    assert len(hook.titles) == 1
    assert REPETITION not in hook.titles[0]


def test_an_answer_that_never_comes_is_tried_again_and_marked(hook: Received, tmp_path: Path) -> None:
    import time

    config = write_config(tmp_path / "c.toml", web(hook))
    home = tmp_path / "home"
    break_something(home, config)
    hook.hook = lambda point: time.sleep(2) if point == "kept" else None
    with open_store(home) as store:
        assert tell(store, config, NOW) == 0
        hook.hook = lambda _: None
        assert tell(store, config, NOW + HOUR) == 1
    assert [REPETITION in title for title in hook.titles] == [False, True]


def test_a_target_that_is_away_keeps_nobody_else_waiting_and_is_given_up_in_the_end(
    hook: Received, tmp_path: Path
) -> None:
    away = {"name": "away", "url": "json://127.0.0.1:9/secret-path"}
    config = write_config(tmp_path / "c.toml", away, web(hook))
    home = tmp_path / "home"
    break_something(home, config)
    with open_store(home) as store:
        assert tell(store, config, NOW) == 1
        later = NOW
        for _ in range(MOST_ATTEMPTS):
            later += 7 * HOUR
            send_alerts(store, settings(config).alerts, later, ConsoleProgress(), env={})
        rows = {row["target"]: row for row in store.outbox.letters(most=9)}
        assert (rows["away"]["state"], rows["away"]["attempts"]) == ("given-up", MOST_ATTEMPTS)
        assert "Connection refused" in rows["away"]["problem"]
        assert "secret-path" not in rows["away"]["problem"]
        tell(store, config, later)
    assert any("messages to away failed for good" in title for title in hook.titles)
    assert any("nothing has been recorded since" in title for title in hook.titles)


def test_a_mail_has_text_and_html_and_no_header_of_a_strangers(mail: Received, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", post(mail))
    home = tmp_path / "home"
    break_something(home, config)
    with open_store(home) as store:
        assert tell(store, config, NOW) == 1
    [message] = mail.mails
    assert message["subject"] == "setback: acme/new in transformers 5.4.0"
    text, page = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert page is not None
    for told in ("last good", "first bad", "settle show ", "https://settle.example/models/acme/new.html", "lm_head"):
        assert told in text.get_content(), text.get_content()
        assert told in page.get_content()


def test_what_one_of_two_addressees_refuses_has_reached_the_other_and_is_marked(mail: Received, tmp_path: Path) -> None:
    target = post(mail)
    target["url"] = f"{target['url']},refusing@d.example"
    config = write_config(tmp_path / "c.toml", target)
    home = tmp_path / "home"
    break_something(home, config)
    asked: list[str] = []

    def refuse_the_second(point: str) -> int | None:
        asked.append(point)
        return 550 if point == "RCPT" and asked.count("RCPT") == 2 else None

    mail.hook = refuse_the_second
    with open_store(home) as store:
        assert tell(store, config, NOW) == 0
        assert tell(store, config, NOW + HOUR) == 1
    assert [REPETITION in title for title in mail.titles] == [False, True, True]


def test_a_strangers_line_break_is_no_header(mail: Received) -> None:
    evil = "acme/new\r\nBcc: everybody@example.org\r\n\r\n<script>alert(1)</script>\u202e"
    said = message(Alert(Kind.TEST, (Item(key="", kind=Kind.TEST, line=evil),)))
    assert send(str(post(mail)["url"]), said, Severity.INFO, {}).arrival is Arrival.ARRIVED
    [received] = mail.mails
    assert received["bcc"] is None
    assert received["subject"] == "acme/new Bcc: everybody@example.org <script>alert(1)</script>"
    page = received.get_body(("html",))
    assert page is not None
    assert "<script" not in page.get_content()
    assert "&lt;script&gt;" in page.get_content()


def test_the_digest_comes_once_a_day_and_routes_by_runtime(hook: Received, mail: Received, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", web(hook), post(mail, runtimes=["vllm"]))
    home = tmp_path / "home"
    break_something(home, config)
    late = NOW.replace(hour=23)
    with open_store(home) as store:
        assert tell(store, config, NOW) == 1  # no news of vLLM
        assert tell(store, config, late) == 2
        assert tell(store, config, late + timedelta(minutes=5)) == 0
    assert "digest of 2026-04-03: 1 news item" in hook.titles[-1]
    assert "nothing new" in mail.titles[-1]
    assert "acme/new no longer works" in hook.posts["/told"][-1]["message"]


def test_the_command_tells_each_target_and_what_failed(hook: Received, tmp_path: Path) -> None:
    settle = shutil.which("settle", path=str(Path(sys.executable).parent)) or "settle"
    config = write_config(
        tmp_path / "c.toml", web(hook), {"name": "away", "url": "json://127.0.0.1:9/${NOT_SET_ANYWHERE}"}
    )

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "SETTLE_HOME": str(tmp_path / "home")}
        return subprocess.run(
            [settle, "--config", str(config), "alert", *words], capture_output=True, text=True, env=env, check=False
        )

    told = ask("test", "--target", "web")
    assert (told.returncode, told.stdout) == (0, "web arrived\n"), told.stderr
    assert len(hook.titles) == 1
    failed = ask("test", "--json")
    assert failed.returncode == 5
    assert [row["arrival"] for row in json.loads(failed.stdout)] == ["arrived", "refused"]
    assert "not delivered: away" in failed.stderr
    assert "did you mean 'web'?" in ask("test", "--target", "wep").stderr
    break_something(tmp_path / "home", config)
    with open_store(tmp_path / "home") as store:
        tell(store, config, NOW)
    rows = json.loads(ask("list", "--json").stdout)
    assert {(row["target"], row["state"]) for row in rows} == {("web", "sent"), ("away", "failed")}
    assert "setback" in ask("list").stdout
