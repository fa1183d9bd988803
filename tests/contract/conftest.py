"""The engines that are here, a base for each, and an index of small wheels that can be made to fail."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import http.server
import os
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.base import Base, ensure_base
from containers.connect import connect
from containers.environments import Environments
from containers.errors import EngineUnavailable
from containers.process_engine import ProcessEngine, find_bubblewrap
from containers.settings import settings_from_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from containers.engine import Engine
    from containers.settings import InstallSettings

# Docker has to be there in CI; the others are tested where they are.
KINDS = ["docker", "process"]
if find_bubblewrap() is not None:
    KINDS.append("bubblewrap")
PODMAN_SOCKETS = ("/run/podman/podman.sock", f"/run/user/{os.getuid()}/podman/podman.sock")
if os.environ.get("CONTAINER_HOST") or any(Path(socket).exists() for socket in PODMAN_SOCKETS):
    KINDS.append("podman")


def make_engine(kind: str, home: Path) -> Engine:
    if kind == "process":
        return ProcessEngine(home=home, bubblewrap=None)
    if kind == "bubblewrap":
        return ProcessEngine(home=home, bubblewrap=find_bubblewrap())
    try:
        return connect("podman" if kind == "podman" else "docker", home=home)
    except EngineUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{error}; {error.hint}")
        pytest.skip(f"{error}; {error.hint}")


@pytest.fixture
def engine_of() -> Callable[[str, Path], Engine]:
    return make_engine


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    # pytest's folders are closed to others, and a probe is another user
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o755)
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def engine(kind: str, home: Path) -> Iterator[Engine]:
    engine = make_engine(kind, home)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def base_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("base")


@functools.cache
def base_of(kind: str, home: Path) -> Base:
    here = settings_from_environment(os.environ)
    with contextlib.closing(make_engine(kind, home)) as engine:
        return ensure_base(engine, settings=here, home=home, progress=print)


@pytest.fixture
def base(kind: str, base_home: Path) -> Base:
    return base_of(kind, base_home)


@dataclass
class Index:
    """A simple index over HTTP; ``broken`` is the status it answers for files from then on.

    ``kept_seconds`` is how long it lets whoever asks keep a page.
    """

    folder: Path
    url: str = ""
    broken: int = 0
    kept_seconds: int = 0
    server: http.server.ThreadingHTTPServer | None = field(default=None, repr=False)

    def add(self, name: str, version: str = "1.0", *, requires: tuple[str, ...] = (), code: str = "") -> Path:
        return make_wheel(self.folder, name, version, requires=requires, code=code)

    def close(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


def make_wheel(folder: Path, name: str, version: str, *, requires: tuple[str, ...], code: str) -> Path:
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{module}/__init__.py": code,
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {text}\n" for text in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


@pytest.fixture
def index(home: Path) -> Iterator[Index]:
    folder = home.parent / "index"
    folder.mkdir()
    index = Index(folder)

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, _, name = self.path.strip("/").partition("/")
            if kind == "files" and index.broken:
                self.answer(index.broken, b"")
            elif kind == "files" and (folder / name).is_file():
                self.answer(200, (folder / name).read_bytes())
            elif kind == "simple" and (found := sorted(folder.glob(f"{name.replace('-', '_')}-*"))):
                self.answer(200, "".join(map(self.link, found)).encode(), "text/html")
            else:
                self.answer(404, b"")

        do_HEAD = do_GET  # noqa: N815 - the name the server calls

        def link(self, path: Path) -> str:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            return f'<a href="/files/{path.name}#sha256={digest}">{path.name}</a>\n'

        def answer(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if index.kept_seconds:
                self.send_header("Cache-Control", f"max-age={index.kept_seconds}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's own name
            pass

    index.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    index.url = f"http://127.0.0.1:{index.server.server_address[1]}/simple/"
    threading.Thread(target=index.server.serve_forever, daemon=True).start()
    yield index
    index.close()


@pytest.fixture
def settings(index: Index) -> InstallSettings:
    from containers.settings import InstallSettings

    return InstallSettings(index_url=index.url, seconds=120, memory_bytes=1 << 30, free_bytes=64 << 20)


@pytest.fixture
def environments(engine: Engine, base: Base, home: Path, settings: InstallSettings) -> Environments:
    return Environments(engine, base, home / "store", settings)
