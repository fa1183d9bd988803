"""`settle check-config` finds what only the daemon would meet: targets to which no message can be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner

from monitor.cli import settle
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_target_that_cannot_be_sent_to_is_named_by_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAIL_PASSWORD", raising=False)
    urls = ("foo://bar", "mailto://me:${MAIL_PASSWORD}@host.example", "json://localhost")
    text = "".join(f"[[alerts.targets]]\nname = 't{number}'\nurl = '{url}'\n" for number, url in enumerate(urls))
    file = tmp_path / "settle.toml"
    file.write_text(text)
    error = CliRunner().invoke(settle, ["--config", str(file), "check-config"]).exception
    assert isinstance(error, ConfigError)
    assert "2 problems" in str(error)
    assert "alerts.targets.0.url: apprise cannot send to foo://" in str(error)
    assert "alerts.targets.1.url: the address needs the environment variable MAIL_PASSWORD" in str(error)
    monkeypatch.setenv("MAIL_PASSWORD", "x")
    file.write_text(text.replace("foo://bar", "json://other"))
    assert CliRunner().invoke(settle, ["--config", str(file), "check-config"]).exit_code == 0
