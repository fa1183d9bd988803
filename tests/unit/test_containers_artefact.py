"""An archive is taken for what it is: held to its sum, kept inside of its tree, and bounded."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from containers.inside import artefact
from containers.recipes.ollama import RECIPE

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = tarfile.TarInfo("./bin/ollama")
PROGRAM.mode = 0o4755


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


def archive_of(path: Path, *entries: tarfile.TarInfo, content: bytes = b"runs") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for one in (PROGRAM, *entries):
            one.size = len(content) if one.isfile() else 0
            archive.addfile(one, io.BytesIO(content) if one.isfile() else None)
    return path


def request(tmp_path: Path, archive: Path, **more: Any) -> dict[str, Any]:
    assert RECIPE.archive is not None
    shape = RECIPE.archive.shape
    into, work = tmp_path / "into", tmp_path / "work"
    for folder in (into, work):
        folder.mkdir(exist_ok=True)
    (work / f"{len(list(work.iterdir()))}").mkdir()
    asked = {"address": str(archive), "sums": "", "sha256": "", "into": str(into), "uv": "uv"}
    own = {"kept": shape.kept, "dropped": shape.dropped, "wanted": shape.wanted}
    return {**asked, **own, "work": str(max(work.iterdir())), **more}


def test_what_is_wanted_is_unpacked_once_and_what_only_a_graphics_card_runs_is_not(tmp_path: Path) -> None:
    entries = (
        entry("./lib/ollama/libggml.so.1"),
        entry("./lib/ollama/libggml.so", tarfile.SYMTYPE, "libggml.so.1"),
        entry("./lib/ollama/hard.so", tarfile.LNKTYPE, "./lib/ollama/libggml.so.1"),
        entry("./lib/ollama/cuda_v13/libcublas.so"),
        entry("./share/doc/readme"),
    )
    archive = archive_of(tmp_path / "a.tgz", *entries)
    found = artefact.main(request(tmp_path, archive))
    assert found == hashlib.sha256(archive.read_bytes()).hexdigest()
    tree = tmp_path / "into" / found
    files = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir())
    assert files == ["bin/ollama", "lib/ollama/hard.so", "lib/ollama/libggml.so", "lib/ollama/libggml.so.1"]
    assert (tree / "lib/ollama/libggml.so").read_bytes() == b"runs"
    assert (tree / "bin/ollama").stat().st_mode & 0o7777 == 0o755
    before = tree.stat().st_ino
    assert artefact.main(request(tmp_path, archive)) == found
    assert tree.stat().st_ino == before


@pytest.mark.parametrize(
    "hostile",
    [
        [entry("/lib/ollama/evil")],
        [entry("lib/ollama/../../../evil")],
        [entry("lib/ollama/out", tarfile.SYMTYPE, "/etc/passwd")],
        [entry("lib/ollama/out", tarfile.SYMTYPE, "../../../evil")],
        [entry("lib/ollama/out", tarfile.LNKTYPE, "../evil")],
        [entry("lib/ollama/out", tarfile.LNKTYPE, "not/there")],
        [entry("lib/ollama/sub", tarfile.SYMTYPE, "."), entry("lib/ollama/sub/evil")],
        [entry("lib/ollama/up", tarfile.SYMTYPE, "../.."), entry("lib/ollama/out", tarfile.SYMTYPE, "up/../evil")],
        [entry("lib/ollama/pipe", tarfile.FIFOTYPE)],
        [entry("lib/ollama/device", tarfile.CHRTYPE)],
    ],
    ids=lambda entries: f"{entries[-1].name} {entries[0].linkname}",
)
def test_an_archive_that_reaches_out_of_its_tree_is_refused(tmp_path: Path, hostile: list[tarfile.TarInfo]) -> None:
    archive = archive_of(tmp_path / "a.tgz", *hostile)
    with pytest.raises(artefact.Ended) as ended:
        artefact.main(request(tmp_path, archive))
    assert ended.value.code == artefact.REFUSED
    assert list((tmp_path / "into").iterdir()) == []
    assert not list(tmp_path.parent.glob("evil*"))


def test_an_archive_is_held_to_the_sum_that_its_publisher_lists(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "ollama-linux-amd64.tgz")
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    sums = tmp_path / "sha256sum.txt"
    sums.write_text(f"{'0' * 64}  ./ollama-darwin.tgz\n{right}  ./ollama-linux-amd64.tgz\n", encoding="utf-8")
    assert artefact.main(request(tmp_path, archive, sums=str(sums))) == right
    sums.write_text(f"{'1' * 64}  ./ollama-linux-amd64.tgz\n", encoding="utf-8")
    with pytest.raises(artefact.Ended, match="Hash mismatch") as ended:
        artefact.main(request(tmp_path, archive, sums=str(sums)))
    assert ended.value.code == artefact.MISMATCH


def test_an_archive_cut_short_or_of_another_kind_is_no_archive(tmp_path: Path) -> None:
    whole = archive_of(tmp_path / "a.tgz", content=bytes(range(256)) * 4096).read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>not found</html>", gzip.compress(b"no tar")):
        (tmp_path / "b.tgz").write_bytes(content)
        with pytest.raises(artefact.Ended) as ended:
            artefact.main(request(tmp_path, tmp_path / "b.tgz"))
        assert ended.value.code == artefact.MISMATCH


def test_an_archive_without_the_program_is_not_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(artefact.Ended, match="holds no bin/other") as ended:
        artefact.main(request(tmp_path, archive_of(tmp_path / "a.tgz"), wanted="bin/other"))
    assert ended.value.code == artefact.REFUSED


def test_too_much_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tgz", entry("lib/ollama/a"), entry("lib/ollama/b"))
    for limits in (
        artefact.ArchiveLimits(members=2),
        artefact.ArchiveLimits(tree_bytes=5),
        artefact.ArchiveLimits(archive_bytes=10),
    ):
        with pytest.raises(artefact.Ended) as ended:
            artefact.main(request(tmp_path, archive), limits)
        assert ended.value.code == artefact.REFUSED


def test_nothing_at_an_address_is_told_apart_from_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(artefact.Ended) as missing:
        artefact.main(request(tmp_path, tmp_path / "missing.tgz"))
    assert missing.value.code == artefact.NOT_FOUND
    with pytest.raises(artefact.Ended) as silent:
        artefact.main(request(tmp_path, tmp_path, address="http://127.0.0.1:9/ollama.tgz"))
    assert silent.value.code == artefact.NETWORK
