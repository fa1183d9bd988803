from __future__ import annotations

from dataclasses import replace

import pytest

from containers.lock import Artefact, MalformedLock, Pin, parse_lock, redacted

TEXT = """\
# made by uv
Torch==2.13.0+cpu \\
    --hash=sha256:bb \\
    --hash=sha256:aa
    # via spec
huggingface_hub==0.29.3 --hash=sha256:cc ; python_version < '4'
spec @ https://user:secret@example.org/spec-1.0-py3-none-any.whl#x \\
    --hash=sha256:dd
"""


def test_a_lock_is_read_and_credentials_leave_no_trace() -> None:
    lock = parse_lock(TEXT, base_digest="base")

    assert lock.packages == (
        Pin("huggingface-hub", "0.29.3", ("sha256:cc",)),
        Pin("spec", "", ("sha256:dd",), "https://example.org/spec-1.0-py3-none-any.whl#x"),
        Pin("torch", "2.13.0+cpu", ("sha256:aa", "sha256:bb")),
    )
    assert "secret" not in lock.text
    assert lock.pin("Huggingface_Hub") == lock.packages[0]
    assert lock.pin("numpy") is None


def test_a_normal_lock_reads_as_itself_and_only_its_content_names_it() -> None:
    lock = parse_lock(TEXT, base_digest="base")

    assert parse_lock(lock.text, base_digest="base") == lock
    shuffled = "\n".join(f"{pin.name}=={pin.version} --hash={pin.hashes[0]}" for pin in lock.packages if pin.version)
    backwards = "\n\n# a comment\n".join(reversed(shuffled.splitlines()))
    assert parse_lock(shuffled, base_digest="b").digest == parse_lock(backwards, base_digest="b").digest
    assert parse_lock(shuffled, base_digest="b").digest != parse_lock(shuffled, base_digest="c").digest


@pytest.mark.parametrize(
    "line", ["torch>=2 --hash=sha256:aa", "torch==2.0", "torch --hash=sha256:aa", "<html>", "-e ."]
)
def test_what_is_not_pinned_with_hashes_is_no_lock(line: str) -> None:
    with pytest.raises(MalformedLock, match="pinned"):
        parse_lock(line, base_digest="base")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:pw@host:80/simple/", "http://host:80/simple/"),
        ("see https://token@host/x and HTTP://a:b@c", "see https://host/x and HTTP://c"),
        ("https://user:p@ss@host/simple", "https://host/simple"),
        ("https://host/a@b", "https://host/a@b"),
        ("https://host?mail=a@b", "https://host?mail=a@b"),
        ("mail a@b.c, pkg @ file:///x", "mail a@b.c, pkg @ file:///x"),
    ],
)
def test_credentials_are_redacted(text: str, expected: str) -> None:
    assert redacted(text) == expected


ARTEFACT = Artefact("ollama", "0.13.5", "https://example.org/ollama-linux-amd64.tgz", "ab" * 32)


def test_an_artefact_is_a_line_of_the_lock_and_nothing_that_an_installer_of_packages_reads() -> None:
    lock = parse_lock(TEXT, base_digest="base")
    beside = lock.with_artefact(ARTEFACT)
    assert beside.artefacts == (ARTEFACT,)
    assert beside.packages == lock.packages
    assert beside.digest != lock.digest
    assert beside.requirements == lock.text
    assert beside.versions["ollama"] == "0.13.5"
    assert parse_lock(beside.text, base_digest="base") == beside


def test_where_an_artefact_was_fetched_is_no_part_of_what_it_is() -> None:
    lock = parse_lock(TEXT, base_digest="base")
    mirror = replace(ARTEFACT, address="https://me:secret@mirror.example/o.tgz")
    assert lock.with_artefact(mirror).digest == lock.with_artefact(ARTEFACT).digest
    assert "secret" not in lock.with_artefact(mirror).text
    other = replace(ARTEFACT, sha256="cd" * 32)
    assert lock.with_artefact(other).digest != lock.with_artefact(ARTEFACT).digest


def test_an_installer_takes_the_very_build_of_the_lock() -> None:
    """Defect: ``torch==2.13.0`` of the index's build was installed as the 2.13.0+cpu of a folder of wheels."""
    lock = parse_lock("torch==2.13.0 --hash=sha256:aa\nhere @ file:///x.whl --hash=sha256:bb\n", base_digest="base")
    torch, *_ = [line for line in lock.exact_requirements.splitlines() if "torch" in line]
    assert torch.startswith("torch===2.13.0")
    assert "here @ file:///x.whl" in lock.exact_requirements
    assert "===" not in lock.text
