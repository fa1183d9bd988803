"""Whoever watches the daemon gets told over real sockets: health, figures, systemd, logs, and a dead man's switch."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from containers.settings import InstallSettings
from monitor.config.load import load_config
from monitor.config.settings import Config
from monitor.daemon.watching import Supervisor, ping, serve_health
from monitor.errors import ConfigError
from monitor.judge.observations import Finished
from monitor.progress import ConsoleProgress, JsonProgress, progress_in
from monitor.serve.health import Heartbeat, Pulse, PulseState, RecordedPulse, health_of, patience_s
from monitor.serve.health import health as health_json
from monitor.serve.metrics import metrics_of
from monitor.store import open_store
from tests.standins.days import World
from tests.standins.publishers import Publishers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)
BEAT = Heartbeat(NOON, 3, "the index", {"new release": 2, "daily": 1}, "the package index does not answer: 500")
LOCAL = "127.0.0.1:0"
STARTING = partial(health_json, PulseState(), {})


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def asked(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def health(url: str) -> tuple[int, dict[str, Any]]:
    status, body = asked(f"{url}/healthz")
    return status, json.loads(body)


# --- health ---------------------------------------------------------------------------------------------------------


def test_health_tells_the_last_tick_and_what_is_waited_for_and_is_503_after_too_long_a_silence() -> None:
    pulse = Pulse(60, clock := Clock())
    with serve_health(LOCAL, lambda: health_json(pulse.state(), {}), bytes) as url:
        status, told = health(url)
        assert (status, told["status"], told["last_tick"]) == (200, "starting", None)
        clock.now += 30
        pulse.beat(BEAT)
        clock.now += 60
        assert health(url) == (
            200,
            {
                "well": True,
                "status": "ok",
                "age_seconds": 60.0,
                "tick": 3,
                "last_tick": "2026-04-01T12:00:00+00:00",
                "waiting_for": "the index",
                "jobs_done": {"new release": 2, "daily": 1},
                "last_fault": "the package index does not answer: 500",
                "last_run": None,
                "last_day": None,
                "problem": "",
            },
        )
        clock.now += 0.1
        status, told = health(url)
        assert (status, told["status"], told["tick"]) == (503, "stale", 3)
        assert asked(f"{url}/secret")[0] == 404


def test_a_daemon_that_never_had_a_tick_is_stale_too() -> None:
    pulse = Pulse(60, clock := Clock())
    clock.now += 61
    with serve_health(LOCAL, lambda: health_json(pulse.state(), {}), bytes) as url:
        assert health(url)[1]["status"] == "stale"


def test_where_nobody_can_listen_that_is_a_problem_of_the_configuration() -> None:
    with serve_health(LOCAL, STARTING, bytes) as url:
        taken = url.removeprefix("http://")
        told = f"cannot listen on {taken.replace(':', ' port ')}: .*Address already in use"
        with pytest.raises(ConfigError, match=told), serve_health(taken, STARTING, bytes):
            pass
    with serve_health("", STARTING, bytes) as url:
        assert url == ""
    with serve_health(taken, STARTING, bytes) as url:  # and it is free again at once
        assert health(url)[0] == 200


def test_a_client_that_says_nothing_keeps_no_other_waiting() -> None:
    with serve_health(LOCAL, STARTING, bytes) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as idle:
            assert health(url)[0] == 200
            idle.sendall(b"GET /healthz HTTP/1.0\r\n")
            assert health(url)[0] == 200


def test_a_living_daemon_may_be_as_silent_as_its_longest_step(tmp_path: Path) -> None:
    slow = Config.model_validate(
        {"home": tmp_path, "limits": {"install_seconds": 1000}, "daemon": {"tick_seconds": 10}}
    )
    assert patience_s(slow) == 1030


# --- figures --------------------------------------------------------------------------------------------------------


def figures(metrics: Callable[[], bytes]) -> dict[tuple[str, str], float]:
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics().decode())
        for sample in family.samples
    }


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with open_store(tmp_path) as store:
        world = World(store)
        day = date(2026, 4, 1)
        world.settle("W", day)
        for letter in "???":
            world.run(letter, day + timedelta(days=1))
        world.run("W", day, world.control)
        store.record_poll("tags of vllm", NOON, "it does not answer")
        store.record_poll("index of vllm", NOON)
        yield tmp_path


def test_figures_are_counted_from_the_database_and_the_last_heartbeat(home: Path) -> None:
    pulse = Pulse(60, clock := Clock())
    pulse.beat(BEAT)
    clock.now += 61
    metrics = metrics_of(home, pulse)
    with serve_health(LOCAL, lambda: health_of(home, pulse), metrics) as url:
        status, body = asked(f"{url}/metrics")
        unwell, answer = health(url)
    assert status == 200
    assert (unwell, answer["well"], answer["status"], answer["last_day"]) == (503, False, "stale", "2026-04-02")
    found = figures(lambda: body)
    assert found["settle_cells", "transformers,works"] == 1
    assert found["settle_cells", "transformers,unknown"] == 1
    assert sum(value for (name, _), value in found.items() if name == "settle_infra_faults") == 1
    assert found["settle_environments", "transformers"] == 1
    assert found["settle_source_failing", "tags of vllm"] == 1
    assert found["settle_source_failing", "index of vllm"] == 0
    assert found["settle_heartbeat_age_seconds", ""] == 61
    assert found["settle_stale", ""] == 1
    assert found["settle_ticks_total", ""] == 3
    assert found["settle_jobs_done_total", "new release"] == 2
    assert found["settle_database_bytes", ""] == (home / "settle.db").stat().st_size
    assert 0 < found["settle_disk_free_bytes", ""] < found["settle_disk_total_bytes", ""]
    assert found["process_resident_memory_bytes", ""] > 10 << 20


def test_health_without_a_database_is_no_health_and_has_the_same_fields(home: Path, tmp_path: Path) -> None:
    without = health_of(tmp_path / "nowhere", Pulse(60))
    assert (without["well"], without["status"], without["tick"]) == (False, "unreadable", None)
    assert "nowhere" in without["problem"]
    alone, within = health_of(home, RecordedPulse(home)), health_of(home, Pulse(60))
    assert without.keys() == alone.keys() == within.keys()
    assert (alone["well"], alone["status"], within["status"]) == (False, "not running", "starting")


def test_without_a_database_the_figures_say_so_and_are_there(tmp_path: Path) -> None:
    found = figures(metrics_of(tmp_path / "nowhere", Pulse(60)))
    assert found["settle_database_readable", ""] == 0
    assert found["settle_ticks_total", ""] == 0


# --- systemd --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["@settle-test-{}", "{}/notify"])
def test_systemd_hears_that_we_are_ready_alive_and_stopping(tmp_path: Path, name: str) -> None:
    address = name.format(tmp_path if "/" in name else tmp_path.name + str(time.monotonic_ns()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + address[1:] if address.startswith("@") else address)
        systemd.settimeout(5)
        us = Supervisor.from_environment(
            {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, pid=7
        )
        assert us.watchdog_s == 60
        assert us.ready()
        assert us.beat(Heartbeat(NOON, 3, "the index\nMAINPID=1"))
        assert us.beat(Heartbeat(NOON, 4))
        assert us.stopping("SIGTERM")
        assert [systemd.recv(1000).decode() for _ in range(4)] == [
            "READY=1",
            "WATCHDOG=1\nSTATUS=tick 3: waiting for the index MAINPID=1",
            "WATCHDOG=1\nSTATUS=tick 4: at work",
            "STOPPING=1\nSTATUS=SIGTERM",
        ]


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@nobody-listens", "vsock:2:1234"])
def test_without_systemd_nothing_is_sent_and_nothing_fails(address: str) -> None:
    us = Supervisor.from_environment(
        {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, pid=7
    )
    assert us.watchdog_s is None  # it was meant for our parent
    assert not us.ready()


# --- logs -----------------------------------------------------------------------------------------------------------


def test_every_line_of_the_log_is_an_object_and_holds_no_password() -> None:
    out = io.StringIO()
    progress = JsonProgress(out, lambda: NOON)
    progress.message('cannot reach https://me:secret@index.example/simple\nand "more"')
    progress.expect_subjects(2)
    progress.check_finished("acme/new", Finished("knows.config", "passed", 0.1))
    progress.check_finished("acme/new", Finished("loads.weights", "failed", 0.1, "missing-tensor", "x" * 9000))
    progress.subject_finished("acme/new", "broken", "loads.weights failed", 1.23456)
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {one["at"] for one in said} == {"2026-04-01T12:00:00.000+00:00"}
    assert [one["event"] for one in said] == ["message", "expected", "checked", "probed"]
    assert "secret" not in out.getvalue()
    assert said[2]["check"] == "loads.weights"
    assert len(out.getvalue()) < 2000
    assert (said[3]["verdict"], said[3]["seconds"]) == ("broken", 1.235)


def test_a_log_that_nobody_takes_any_more_ends_nothing() -> None:
    out = io.StringIO()
    out.close()
    JsonProgress(out).message("still measuring")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("form", "out", "kind"),
    [
        ("auto", Terminal(), ConsoleProgress),
        ("auto", io.StringIO(), JsonProgress),
        ("json", Terminal(), JsonProgress),
        ("text", io.StringIO(), ConsoleProgress),
    ],
)
def test_a_person_reads_text_and_a_machine_objects(form: Any, out: io.StringIO, kind: type) -> None:
    assert isinstance(progress_in(form, out), kind)


# --- a dead man's switch --------------------------------------------------------------------------------------------


def test_a_ping_that_fails_is_said_without_its_address_and_is_not_fatal() -> None:
    out = io.StringIO()
    progress, settings = JsonProgress(out), InstallSettings()
    with Publishers(answers={"/ping/": (200, b"OK"), "/down/": (500, b"")}) as watcher:
        assert ping(f"{watcher.url}/ping/5ecre7", settings, progress)
        assert watcher.asked == ["/ping/5ecre7"]
        assert out.getvalue() == ""
        assert not ping(f"{watcher.url}/down/5ecre7", settings, progress)
        assert not ping(f"{watcher.url}/unknown/5ecre7", settings, progress)
    assert not ping("http://127.0.0.1:1/5ecre7", settings, progress)
    assert not ping("", settings, progress)
    said = [json.loads(line)["message"] for line in out.getvalue().splitlines()]
    assert [sentence.split(": ", 1)[1].split(" (")[0][:33] for sentence in said] == [
        "127.0.0.1: 127.0.0.1 does not ans",
        "127.0.0.1: there is no such addre",
        "127.0.0.1: 127.0.0.1 does not ans",
    ]
    assert "5ecre7" not in out.getvalue()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('listen = "9750"', "daemon.listen: "),
        ('listen = "localhost:99999"', "daemon.listen: "),
        ('ping_url = "5ecre7"', "daemon.ping_url: not an address"),
        ('logs = "xml"', "daemon.logs: must be 'auto', 'text' or 'json'"),
    ],
)
def test_what_the_daemon_cannot_do_is_refused_and_a_secret_is_not_repeated(
    tmp_path: Path, line: str, says: str
) -> None:
    file = tmp_path / "settle.toml"
    file.write_text(f"[daemon]\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, {"SETTLE_HOME": "/somewhere"})
    assert says in str(caught.value)
    assert "5ecre7" not in str(caught.value)


def test_a_secret_address_is_not_among_the_settings_that_are_shown(tmp_path: Path) -> None:
    config = Config.model_validate({"home": tmp_path, "daemon": {"ping_url": "https://ping.example/5ecre7"}})
    assert config.daemon.ping_url.get_secret_value().endswith("5ecre7")
    assert "5ecre7" not in str(config.model_dump(mode="json"))
    assert "5ecre7" not in repr(config)


def test_health_is_told_while_another_thread_writes_heartbeats() -> None:
    pulse = Pulse(60)
    done = threading.Event()

    def live() -> None:
        for tick in range(2000):
            pulse.beat(Heartbeat(NOON, tick, f"tick {tick}"))
        done.set()

    with serve_health(LOCAL, lambda: health_json(pulse.state(), {}), bytes) as url:
        threading.Thread(target=live).start()
        while not done.is_set():
            told = health(url)[1]
            assert told["last_tick"] is None or told["waiting_for"] == f"tick {told['tick']}"
    last = pulse.state().heartbeat
    assert last is not None
    assert last.tick == 1999
