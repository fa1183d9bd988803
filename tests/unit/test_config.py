"""A configuration is refused whole, with every problem named, or it is frozen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitor.config.load import load_config, reference
from monitor.errors import ConfigError
from monitor.sources.web import install_settings

HOME = {"SETTLE_HOME": "/somewhere"}


def write(folder: Path, text: str) -> Path:
    file = folder / "settle.toml"
    file.write_text(text)
    return file


def test_every_problem_is_named_at_once_and_a_misspelt_key_has_a_near_match(tmp_path: Path) -> None:
    file = write(tmp_path, 'engin = "docker"\n[limits]\ncpus = -1\nmemory_gb = 2\n[install]\ntorch = "cuda"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file, HOME)
    text = str(caught.value)
    assert "4 problems" in text
    assert "engin: unknown key; did you mean 'engine'?" in text
    assert "limits.memory_gb: unknown key; did you mean 'limits.memory_gib'?" in text
    assert "limits.cpus: must be greater than 0 (found -1)" in text
    assert "install.torch" in text


@pytest.mark.parametrize(("text", "says"), [("home = ", "is not TOML"), ("\x00", "is not TOML")])
def test_what_is_not_toml_is_said_to_be_none(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_config(write(tmp_path, text), HOME)


def test_a_named_file_must_exist_and_the_usual_one_need_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file"):
        load_config(tmp_path / "nowhere.toml", HOME)
    usual = {**HOME, "XDG_CONFIG_HOME": str(tmp_path)}
    assert load_config(None, usual).home == Path("/somewhere")


def test_the_environment_names_the_home_and_what_the_file_leaves_out(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, f'[install]\nfind_links = ["{tmp_path}"]\n'), HOME)
    found = install_settings(
        config, {"UV_FIND_LINKS": "/theirs", "UV_DEFAULT_INDEX": "https://index.example", "HTTPS_PROXY": "http://p:1"}
    )
    assert found.find_links == (str(tmp_path),)
    assert found.index_url == "https://index.example"
    assert found.https_proxy == "http://p:1"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('install.extra = ["not a (requirement"]', "install.extra.0: not a requirement: Expected"),
        ('install.overrides = ["triton ; never"]', "install.overrides.0: not a requirement: "),
        ('install.find_links = ["/nowhere/at/all"]', "install.find_links.0: the folder does not exist"),
        ('install.index_url = "index.example"', "install.index_url: not an address: it must begin with https://"),
        ('install.ca_bundle = "/nowhere.pem"', "install.ca_bundle: the file does not exist"),
        ("limits.cpus = inf", "limits.cpus: must be a finite number"),
        ("limits.memory_gib = 0.001", "limits.memory_gib: must be greater than or equal to 0.1"),
        ("limits.check_seconds = nan", "limits.check_seconds: must be"),
    ],
)
def test_a_value_that_could_only_fail_later_is_refused_now(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, line), HOME)
    assert says in str(caught.value)


def test_lines_and_links_as_people_write_them_are_taken(tmp_path: Path) -> None:
    text = (
        "[install]\noverrides = [\"triton ; sys_platform == 'never'\"]\nextra = ['peft>=0.17', 'a @ https://x.example/a.whl']\n"
        "find_links = ['https://wheels.example/cpu']\nextra_index_urls = ['https://me:secret@index.example/simple']\n"
    )
    assert load_config(write(tmp_path, text), HOME).install.extra == ("peft>=0.17", "a @ https://x.example/a.whl")


def test_no_channel_can_be_asked_for_that_nothing_probes(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, '[releases.repositories]\nvllm = ""\n'), HOME)
    assert config.releases.repositories.address_of("vllm") == ""
    with pytest.raises(ConfigError, match=r"releases\.channels: unknown key"):
        load_config(write(tmp_path, '[releases]\nchannels = ["nightly"]\n'), HOME)


def test_no_address_of_a_target_is_ever_printed_with_what_is_wrong(tmp_path: Path) -> None:
    text = (
        "[alerts]\ndigest_hour = 25\n[[alerts.targets]]\nurl = 'json://me:t0ps3cret@host'\n"
        "[[alerts.targets]]\nname = 'a'\nurl = ['json://t0ps3cret']\nlink = 1\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), HOME)
    message = str(caught.value)
    assert "alerts.digest_hour: must be less than or equal to 23 (found 25)" in message
    assert "alerts.targets.0.name: is required" in message
    assert "alerts.targets.1.url: must be a text" in message
    assert "alerts.targets.1.link: unknown key" in message
    assert "t0ps3cret" not in message


def test_two_targets_of_one_name_are_refused(tmp_path: Path) -> None:
    target = "[[alerts.targets]]\nname = 'a'\nurl = 'json://host'\n"
    with pytest.raises(ConfigError, match="two targets have the same name"):
        load_config(write(tmp_path, target * 2), HOME)


def test_a_renamed_key_is_answered_with_its_present_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"limits\.lanes: unknown key; it is 'limits\.workers' now"):
        load_config(write(tmp_path, "limits.lanes = 2\n"), HOME)


PYDANTIC = re.compile(r"Input|String|should|valid dictionary|instance|unable to|pydantic|Traceback|SecretStr")


def keys_of_every_kind() -> list[str]:
    return [key for key, _, _ in reference() if "[]" not in key]


@pytest.mark.parametrize("value", ["{ a = 1 }", "[[1]]", "'?'", "-1e300", "nan", "true", "''", "2026-01-01T00:00:00"])
def test_no_problem_of_any_key_is_in_the_words_of_a_library(tmp_path: Path, value: str) -> None:
    for key in keys_of_every_kind():
        problems = ""
        try:
            load_config(write(tmp_path, f"{key} = {value}\n"), HOME)
        except ConfigError as error:
            problems = str(error)
        assert not PYDANTIC.search(problems), problems
        assert "is not valid" not in problems, problems
