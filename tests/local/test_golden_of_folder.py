"""What a user's own folder says of itself: read leniently, because it is the probe that judges the files."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path

import pytest

from monitor.miniatures.golden import MESSAGES, golden_of_folder
from monitor.miniatures.template import render_apart

ROLES = "{% for message in messages %}{{ message.role }};{% endfor %}"


ALL = "{{ bos_token }}{{ pad_token }}{{ unk_token }}{{ image_token }}{{ additional_special_tokens | join }}"


def test_a_template_is_given_every_special_token_that_is_set(tmp_path: Path) -> None:
    settings = {
        "chat_template": ALL + "{{ sep_token is defined }}",
        "bos_token": {"content": "<s>"},
        "pad_token": "<pad>",
        "additional_special_tokens": ["<x>", {"content": "<y>"}],
        "extra_special_tokens": {"image_token": "<image>"},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    beside = {"unk_token": "<unk>", "pad_token": "<other>", "sep_token": None}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(beside), encoding="utf-8")
    rendering = golden_of_folder(tmp_path)["template"]
    assert rendering["rendered"] == "<s><pad><unk><image><x><y>False"


@pytest.mark.parametrize(
    ("settings", "beside", "rendered"),
    [
        (json.dumps({"chat_template": ROLES}).encode(), None, "user;assistant;user;"),
        (json.dumps({"chat_template": "older"}).encode(), ROLES.encode(), "user;assistant;user;"),
        (b'{"chat_template": "{% for mess', None, None),
        (b"\xff\xfe", None, None),
        (b"[" * 100_000, None, None),
        (json.dumps({"chat_template": "{% for message in"}).encode(), None, None),
        (json.dumps({"chat_template": "{{ 1 / 0 }}"}).encode(), None, None),
        (json.dumps({"chat_template": "{{ range(10 ** 9) }}"}).encode(), None, None),
        (b"{}", b"\xff{{ messages | length }}", f"\N{REPLACEMENT CHARACTER}{len(MESSAGES)}"),
    ],
)
def test_what_a_folder_says_of_its_template(
    tmp_path: Path, settings: bytes, beside: bytes | None, rendered: str | None
) -> None:
    (tmp_path / "tokenizer_config.json").write_bytes(settings)
    if beside is not None:
        (tmp_path / "chat_template.jinja").write_bytes(beside)
    template = golden_of_folder(tmp_path)["template"]
    assert (template and template["rendered"]) == rendered


LOOP = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (LOOP, "rendering takes longer than 0.7 s"),
        ("{{ 9 ** (9 ** 9) }}", "rendering takes longer than 0.7 s"),  # one instruction, which no alarm would interrupt
        ("{{ 'x' * 10 ** 10 }}", "it needs more than 512 MiB"),
        ("{% for a in range(2000) %}{{ 'x' * 1000 }}{% endfor %}", "TemplateError: it renders more than 1048576 char"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError: access to attribute '__class__'"),
        ("{{ raise_exception('tools are wanted') }}", "TemplateError: tools are wanted"),
        ("{{ messages | nothing }}", "TemplateAssertionError: No filter named 'nothing'."),
    ],
    ids=["loops", "a power", "memory", "length", "a way out", "its own word", "no such filter"],
)
def test_a_template_that_takes_too_much_ends_with_a_reason(template: str, why: str) -> None:
    ends_by_itself = "longer than" not in why
    rendered, said = render_apart(template, [], {}, seconds=30 if ends_by_itself else 0.7)  # a busy machine is slow
    assert rendered is None
    assert said.startswith(why)


def test_the_reason_travels_to_the_probe(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('tools are wanted') }}")
    golden = golden_of_folder(tmp_path)
    assert golden["template"] is None
    assert golden["no_template"].endswith("gives no golden rendering: TemplateError: tools are wanted")


def test_a_pipe_in_the_folder_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokenizer_config.json")
    assert golden_of_folder(tmp_path)["template"] is None


def test_the_process_that_renders_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a template runs for ever, look at the variables of the process that runs it."""
    monkeypatch.setenv("SETTLE_SECRET", "sesame")
    loops = "{% for i in range(99999) %}" * 4 + "{% endfor %}" * 4
    rendering = threading.Thread(target=render_apart, args=(loops, [], {}), kwargs={"seconds": 3.0})
    rendering.start()
    seen: list[bytes] = []
    while rendering.is_alive():
        for task in Path("/proc/self/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                with contextlib.suppress(OSError):
                    program = Path(f"/proc/{child}/cmdline").read_bytes()
                    if b"monitor.miniatures.template" in program:
                        seen.append(Path(f"/proc/{child}/environ").read_bytes())
        time.sleep(0.05)
    assert seen
    assert not any(b"sesame" in variables for variables in seen)
