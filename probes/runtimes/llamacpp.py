"""What the bindings of llama.cpp share: conversion, loading, and the reasons that llama.cpp writes to stderr."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from probes.checkpoint import only_gguf, tensors
from probes.faults import ReportedError, fault_in, phrases_in
from probes.runtimes import Adapter, UnavailableError
from probes.runtimes.converter import Converter
from probes.subject import Subject

CONTEXT = 1024  # tokens: longer than any prompt of the checks
_FLOAT32_BYTES = 4
_FLUSH_S = 0.3  # another thread writes its log
_KEPT_LINES = 6
_DATE = re.compile(r"""set\s+date_string\s*=\s*["']([^"']+)["']""")
# how a miniature differs from published files: the names of its tensors, and no SentencePiece file
_NO_SUCH_NAME = "Can not map tensor"
_MINIATURE_ERRORS = (_NO_SUCH_NAME, "tokenizer.model")
# about the file or the build, whatever words are in it
_DATA = re.compile(r" - kv +\d+:|print_info:|system_info:|build_info:")
_FRAME = re.compile(r"^\S+\(\S*\+0x[0-9a-f]+\) *\[0x[0-9a-f]+\]$")  # of a backtrace, with addresses of this one process
_STAMP = re.compile(r"^\d+(\.\d+)+ [A-Z] ")  # seconds since the start, and the level
_PARTS = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_SHAPE = "has wrong shape"
_REASONS = ("error", "fail", "missing", "not found", "unknown", "unsupported", "invalid", "abort", "assert")

# messages of llama.cpp, or of the converter
PHRASES = phrases_in("""
    unknown-architecture: unknown model architecture | the converter has no class for
    infra-recipe: the converter asks for
    # built for another processor
    unsupported-on-platform: ended by sigill
    # what we made may not fit; and random weights write what no parser expects and no JSON holds
    infra-miniature: unfiterror: | failed to parse input at pos | invalid utf-8 byte at index
    bad-checkpoint: incompleteerror: | data is not within the file bounds | invalid magic characters
    infra-memory: failed to allocate | unable to allocate | ggml_aligned_malloc
    missing-tensors: missing tensor ' | ' not found in model | done_getting_tensors: wrong number of tensors
    missing-tensors: ' not found
""")


class LlamaCpp(Adapter):
    """The part of an adapter that is the same for every binding: everything but its own calls."""

    loads_forms = True
    abilities = ("checkpoint", "conversion", "tokens", "template", "comparison", "server", "token-bias")
    phrases = PHRASES
    package = module = ""

    def __init__(self) -> None:
        self.converter = Converter()
        self._loaded: Any = None
        self._metadata: dict[str, Any] | None = None
        self._draws = 0
        self.brought = False  # the publisher's file, which is not converted
        self.shrunk = False  # a miniature, whose sizes are its maker's
        self.made_up = False  # a miniature whose configuration is not a published one

    def load(self) -> dict[str, str]:
        versions = self.converter.load()
        importlib.import_module(self.module)
        return {self.package: version(self.package), **versions}

    def open(self, file: Path) -> Any:
        """Return the model of a file; raises ReportedError with the reason."""
        raise NotImplementedError

    def model(self, folder: Path, config: Any, config_json: dict[str, Any], attention: str) -> Any:  # noqa: ARG002 -- it has the converted file
        if self.shrunk:
            self.tried(lambda: self.open(file_of("f32")))
        self._loaded = self.load_file(file_of("f32"))
        return self._loaded

    def load_file(self, file: Path) -> Any:
        try:
            return self.open(file)
        except ReportedError as error:
            raise self.refused(str(error)) from error

    def loaded(self) -> Any:
        """Return the loaded model, which includes the tokenizer."""
        if self._loaded is None:
            raise UnavailableError("the tokenizer is a part of the loaded model, and none is loaded")
        return self._loaded

    def registered(self) -> int:
        return self.converter.registered()

    def config(self, folder: Path) -> Any:
        return self.converter.class_of(folder)

    def convert(self, subject: Subject, kind: str = "f32") -> dict[str, Any]:
        """Convert; the file is there for the checks after it."""
        target = file_of(kind)
        if kind == "f32":  # also what the subject before left behind
            shutil.rmtree(target.parent, ignore_errors=True)
            target.parent.mkdir(parents=True)
            self._metadata, self.brought = None, False
            if brought := only_gguf(subject.folder):
                self.shrunk, self.made_up, self.brought = False, False, True
                if _PARTS.search(brought.name):  # which are loaded by their names
                    raise UnavailableError("a GGUF in several parts is not probed: not measured")
                target.symlink_to(brought)
                return {"class": "nothing: the file is the publisher's", "bytes": brought.stat().st_size}
            needed = _FLOAT32_BYTES * sum(math.prod(tensor.shape) for tensor in tensors(subject.folder).values())
            free = shutil.disk_usage(target.parent).free
            if needed > free:
                raise UnavailableError(f"the converted file takes {needed >> 20} MiB, and {free >> 20} MiB are free")
        elif only_gguf(subject.folder):
            raise UnavailableError("the publisher's file is not converted again")
        synthetic = bool(subject.golden.get("texts"))
        self.shrunk = synthetic
        self.made_up = synthetic and not subject.golden.get("published")
        folder = _writable(subject.folder, target.parent) if synthetic else subject.folder
        return self._written(subject, folder, target, kind=kind)

    def form(self, folder: Path, subject: Subject) -> Any:
        """Convert and load a folder that was made of the subject's."""
        target = file_of(folder.name)
        self._written(subject, folder, target)
        self.tried(lambda: self.open(target))
        return self.load_file(target)

    def _written(self, subject: Subject, folder: Path, target: Path, *, kind: str = "f32") -> dict[str, Any]:
        synthetic = bool(subject.golden.get("texts"))
        try:
            return self.converter.convert(folder, target, kind=kind, synthetic=synthetic)
        except (AttributeError, AssertionError, KeyError, TypeError, ValueError, FileNotFoundError) as error:
            if unfit := self.converter.out_of_range():
                raise UnfitError(f"{unfit}: {error}") from error
            if self.misled(error, published_names=bool(subject.golden.get("published_names"))):
                raise UnfitError(f"the converter may not read a miniature: {error!r}") from error
            raise

    def misled(self, error: Exception, *, published_names: bool) -> bool:
        """Return whether the converter may fail for what we made: names of transformers, values that are made up."""
        if published_names and _NO_SUCH_NAME in str(error):
            return False
        return self.made_up or (self.shrunk and any(word in str(error) for word in _MINIATURE_ERRORS))

    def tried(self, begin: Callable[[], object]) -> None:
        """Let another process begin first: a loader that aborts ends its process, and the reason is lost with it."""
        with captured_stderr() as capture:
            child = os.fork()
            if not child:
                code = 0
                try:
                    opened = begin()  # noqa: F841 -- letting go of a server that has only begun may wait for ever
                except Exception:  # noqa: BLE001 -- the same error comes again where it is caught
                    code = 1
                os._exit(code)
            _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            raise self.ended(os.WTERMSIG(status), capture.tail())

    def ended(self, number: int, stderr: str) -> Exception:
        """Return the exception for a loader that a signal ended."""
        reason = f"loading ended by {signal.Signals(number).name}: {stderr}"
        if number == signal.SIGKILL:
            return MemoryError(f"from outside, most likely by our memory limit: {reason}")
        return UnfitError(reason) if self.made_up and number != signal.SIGILL else ReportedError(reason)

    def load_perturbed(self) -> Any:
        """Load a copy of the converted file with every embedding moved by float32's last bit, at random."""
        from gguf.gguf_reader import GGUFReader  # type: ignore[import-not-found, unused-ignore]
        from numpy import finfo, float32, random

        target = file_of("perturbed")
        shutil.copyfile(file_of("f32"), target)
        stored = GGUFReader(str(target), "r+").tensors
        embedded = next((tensor for tensor in stored if tensor.name == "token_embd.weight"), None)
        if embedded is None or embedded.data.dtype != float32:
            raise UnavailableError("the converted file has no embeddings in float32 to perturb")
        directions = random.default_rng(self._draws).choice([-1.0, 1.0], embedded.data.shape).astype(float32)
        embedded.data[...] *= 1 + finfo(float32).eps * directions
        embedded.data.flush()
        self._draws += 1
        return self.load_file(target)

    def metadata(self) -> dict[str, Any]:
        """Return the converted file's metadata; raises UnavailableError without a file."""
        if self._metadata is None:
            if not file_of("f32").is_file():
                raise UnavailableError("there is no converted file")
            self._metadata = self.converter.read(file_of("f32"))
        return self._metadata

    def refused(self, reason: str) -> Exception:
        """Return the exception for a file that the loader refuses: of a miniature, ours may be the fault."""
        if self.made_up or (self.shrunk and _SHAPE in reason):
            return UnfitError(reason)
        missing = fault_in(reason, PHRASES) == "missing-tensors"
        return IncompleteError(reason) if missing and not self.shrunk else ReportedError(reason)


class IncompleteError(Exception):
    """The loader wants a tensor that the user's files may lack: the converter writes all that it finds."""


class UnfitError(Exception):
    """The runtime may not read what we made: a fault of ours."""


def file_of(kind: str) -> Path:
    return Path(tempfile.gettempdir(), "settle-gguf", f"{kind}.gguf")


def _writable(folder: Path, scratch: Path) -> Path:
    """Return a copy: until the end of 2025 the converter opened tensors for writing, which a subject forbids."""
    copy = scratch / "checkpoint"
    if not copy.is_dir():
        shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    return copy


def with_stderr(begin: Callable[[], Any]) -> Any:
    """Call a loader; where it fails, llama.cpp writes the reason to stderr only."""
    try:
        with captured_stderr() as capture:
            return begin()
    except (AssertionError, OSError, RuntimeError, ValueError) as error:
        raise ReportedError(f"{error} | {capture.tail()}") from error


def threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or 1)


class LlamaCppModel:
    """A model that a binding has loaded."""

    attention = ""
    independent = True

    def __init__(self, load_perturbed: Callable[[], Any]) -> None:
        self._load_perturbed = load_perturbed

    def perturb(self, row: Sequence[int]) -> Any:
        return self._load_perturbed().forward(row)


class StderrCapture:
    """What is written to stderr meanwhile."""

    text = ""

    def tail(self) -> str:
        """Return the last lines with a reason, or the last lines where none has one."""
        written = [line.strip() for line in self.text.splitlines() if line.strip() and not _DATA.search(line)]
        lines = [_STAMP.sub("", line) for line in written if not _FRAME.match(line)]
        with_reason = [line for line in lines if any(word in line.lower() for word in _REASONS)]
        return " | ".join((with_reason or lines)[-_KEPT_LINES:])


@contextlib.contextmanager
def captured_stderr() -> Iterator[StderrCapture]:
    """Keep what any thread writes to stderr, while it still goes where it went.

    Another process copies it: ``abort`` would end the copying with the process.
    """
    capture = StderrCapture()
    with tempfile.NamedTemporaryFile() as copy:
        sys.stderr.flush()
        stderr = os.dup(2)
        tee = subprocess.Popen(["tee", copy.name], stdin=subprocess.PIPE, stdout=stderr)  # noqa: S607 -- any tee will do
        assert tee.stdin is not None  # noqa: S101 -- it was asked for
        os.dup2(tee.stdin.fileno(), 2)
        tee.stdin.close()
        try:
            yield capture
        except BaseException:
            time.sleep(_FLUSH_S)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)  # the last end of the pipe that is written to, so that tee ends
            os.close(stderr)
            tee.wait()
            capture.text = Path(copy.name).read_text(encoding="utf-8", errors="replace")


class Specials:
    """The special tokens and the template that a converted file holds."""

    # llama.cpp's server asks templates to think by default
    settings: tuple[dict[str, Any], ...] = ({"enable_thinking": False},)

    def __init__(self, metadata: dict[str, Any]) -> None:
        self._metadata = metadata
        self._tokens: list[str] = metadata.get("tokenizer.ggml.tokens") or []
        self._template = str(metadata.get("tokenizer.chat_template") or "")
        self.has_template = bool(self._template)

    def specials(self) -> dict[str, Any]:
        kind, cut = self._metadata.get("tokenizer.ggml.model"), self._metadata.get("tokenizer.ggml.pre")
        match: dict[str, Any] = {"class": f"{kind} ({cut})" if cut else str(kind)}
        for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
            index = self._metadata.get(f"tokenizer.ggml.{key}_token_id")
            match[name] = index
            match[name + "_token"] = self._tokens[index] if index is not None and index < len(self._tokens) else None
        return match

    def template_date(self) -> dict[str, str]:
        """Return the date that the template sets for itself: llama.cpp passes today's date to every template."""
        match = _DATE.search(self._template)
        return {"date_string": match.group(1)} if match else {}

    def with_beginning(self, rendered: str) -> str:
        """Put the beginning token back, which llama.cpp removes from a rendering and adds as a token."""
        begins = self.specials()["bos_token"]
        writes_it = begins and ("bos_token" in self._template or begins in self._template)
        if not writes_it or not self._metadata.get("tokenizer.ggml.add_bos_token", True) or rendered.startswith(begins):
            return rendered
        return f"{begins}{rendered}"
