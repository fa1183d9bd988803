"""What the bindings of llama.cpp share: conversion, what the file says, blame by llama.cpp's own words on stderr."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.checkpoint import tensors
from probes.faults import ReportedError, fault_in
from probes.runtimes import UnavailableError
from probes.runtimes.converter import Converter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from probes.subject import Subject

CONTEXT = 1024  # tokens: longer than any prompt of the checks
_FLOAT32_BYTES = 4
_FLUSH_S = 0.3  # its log is written by a thread of its own
_KEPT_LINES = 6
_DATE = re.compile(r"""set\s+date_string\s*=\s*["']([^"']+)["']""")
# what a miniature has otherwise than the published files: the names of its tensors, and no SentencePiece file
_OURS = ("Can not map tensor", "tokenizer.model")
_DATA = re.compile(r" - kv +\d+:|print_info:|system_info:|build_info:")  # of file or build, whatever words are in it
_FRAME = re.compile(r"^\S+\(\S*\+0x[0-9a-f]+\) *\[0x[0-9a-f]+\]$")  # of a backtrace, with addresses of this one process
_STAMP = re.compile(r"^\d+(\.\d+)+ [A-Z] ")  # seconds since the start, and the level
_SHAPE = "has wrong shape"
_TELLING = ("error", "fail", "missing", "not found", "unknown", "unsupported", "invalid", "abort", "assert")

# llama.cpp's own words, or the converter's -> fault; the first that occurs wins
PHRASES = (
    ("unknown-architecture", ("unknown model architecture", "the converter has no class for")),
    ("infra-recipe", ("the converter asks for",)),
    ("unsupported-on-platform", ("ended by sigill",)),  # built for another processor
    # what we made may not fit; and random weights say what no parser of answers expects, or no JSON can hold
    ("infra-miniature", ("unfiterror:", "failed to parse input at pos", "invalid utf-8 byte at index")),
    ("bad-checkpoint", ("incompleteerror:", "data is not within the file bounds", "invalid magic characters")),
    ("infra-memory", ("failed to allocate", "unable to allocate", "ggml_aligned_malloc")),
    (
        "missing-tensors",
        ("missing tensor '", "' not found in model", "done_getting_tensors: wrong number of tensors", "' not found"),
    ),
)


class LlamaCpp:
    """The part of an adapter that is the same for every binding: everything up to the GGUF file."""

    abilities = ("checkpoint", "conversion", "tokens", "template", "comparison", "server", "token-bias")
    stands_on = ""
    phrases = PHRASES
    rounding = 1e-4  # float32 through a few layers, in kernels that sum in another order

    def __init__(self) -> None:
        self.converter = Converter()
        self._said: dict[str, Any] | None = None
        self._draws = 0
        self.shrunk = False  # a miniature, whose sizes are ours
        self.made_up = False  # a miniature, and its configuration is no published one

    def seed(self, seed: int) -> None:
        """Draw nothing at random: what the checks ask is greedy, or says its seed itself."""

    def after_fork(self) -> None:
        """Start every thread in the child: the parent only imports."""

    def prime(self) -> None:
        """Have nothing left to import: the converter's classes are loaded by then."""

    def registered(self) -> int:
        return self.converter.registered()

    def knows(self, model_type: str) -> bool:
        """Leave the answer to ``config``: the converter's table has classes of transformers, not types of models."""
        return bool(model_type)

    def config(self, folder: Path) -> Any:
        return self.converter.class_of(folder)

    def convert(self, subject: Subject) -> dict[str, Any]:
        """Convert to float32; the file is there for the checks after it."""
        return self.converted(subject, "f32")

    def converted(self, subject: Subject, kind: str) -> dict[str, Any]:
        target = file_of(kind)
        if kind == "f32":  # also what a subject before this one left behind, whose process could not tidy up
            shutil.rmtree(target.parent, ignore_errors=True)
            target.parent.mkdir(parents=True)
            _room_for(subject.folder, target.parent)
            self._said = None
        synthetic = bool(subject.golden.get("texts"))
        self.shrunk = synthetic
        self.made_up = synthetic and not subject.golden.get("published")
        folder = _writable(subject.folder, target.parent) if synthetic else subject.folder
        try:
            return self.converter.convert(folder, target, kind=kind, synthetic=synthetic)
        except (AttributeError, AssertionError, KeyError, TypeError, ValueError, FileNotFoundError) as error:
            if unfit := self.converter.out_of_range():
                raise UnfitError(f"{unfit}: {error}") from error
            # names of tensors are those that transformers gives, and keys of a configuration are nobody's
            if synthetic and (self.made_up or any(word in str(error) for word in _OURS)):
                raise UnfitError(f"the miniature may not be what the converter reads: {error!r}") from error
            raise

    def tried(self, begin: Callable[[], object]) -> None:
        """Let another process begin first: a loader that aborts takes its process along, and with it what it said."""
        capture = StderrCapture()
        with captured_stderr(capture):
            child = os.fork()
            if not child:
                code = 0
                try:
                    kept = begin()  # noqa: F841 -- letting go of a server that has only begun may wait for ever
                except Exception:  # noqa: BLE001 -- it will say so again where somebody listens
                    code = 1
                os._exit(code)
            _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            raise self.ended(os.WTERMSIG(status), capture.tail())

    def ended(self, number: int, said: str) -> Exception:
        """Return the exception for a loader that a signal ended, by whose doing that can be."""
        told = f"loading ended by {signal.Signals(number).name}: {said}"
        if number == signal.SIGKILL:
            return MemoryError(f"from outside, most likely by our memory limit: {told}")
        return UnfitError(told) if self.made_up and number != signal.SIGILL else ReportedError(told)

    def perturbed_file(self) -> Path:
        """Return a copy of the converted file with every embedding moved by float32's last bit, at random."""
        from gguf.gguf_reader import GGUFReader  # type: ignore[import-not-found, unused-ignore]
        from numpy import finfo, float32, random

        target = file_of("shaken")
        shutil.copyfile(file_of("f32"), target)
        embedded = next((one for one in GGUFReader(str(target), "r+").tensors if one.name == "token_embd.weight"), None)
        if embedded is None or embedded.data.dtype != float32:
            raise UnavailableError("the converted file has no embeddings in float32 that could be moved")
        signs = random.default_rng(self._draws).choice([-1.0, 1.0], embedded.data.shape).astype(float32)
        embedded.data[...] *= 1 + finfo(float32).eps * signs
        embedded.data.flush()
        self._draws += 1
        return target

    def metadata(self) -> dict[str, Any]:
        """Return what the converted file says; raises UnavailableError where there is none."""
        if self._said is None:
            if not file_of("f32").is_file():
                raise UnavailableError("there is no converted file")
            self._said = self.converter.read(file_of("f32"))
        return self._said

    def refused(self, told: str) -> Exception:
        """Return the exception for a file that the loader refuses, and whose fault that is for a miniature."""
        if self.made_up or (self.shrunk and _SHAPE in told):
            return UnfitError(told)
        missing = fault_in(told, PHRASES) == "missing-tensors"
        return IncompleteError(told) if missing and not self.shrunk else ReportedError(told)


class IncompleteError(Exception):
    """A tensor is wanted that a user's files may not hold: the converter writes all it finds."""


class UnfitError(Exception):
    """What we gave the runtime may not be what it reads: a fault of ours."""


def file_of(kind: str) -> Path:
    return Path(tempfile.gettempdir(), "settle-gguf", f"{kind}.gguf")


def _writable(folder: Path, scratch: Path) -> Path:
    """Return a copy: until the end of 2025 the converter opened tensors for writing, which a subject forbids."""
    copy = scratch / "checkpoint"
    if not copy.is_dir():
        shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    return copy


def _room_for(folder: Path, scratch: Path) -> None:
    needed = 0
    for tensor in tensors(folder).values():
        elements = _FLOAT32_BYTES
        for extent in tensor.shape:
            elements *= extent
        needed += elements
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise UnavailableError(f"the converted file takes {needed >> 20} MiB, and {free >> 20} MiB are free")


class StderrCapture:
    """What was written to stderr meanwhile."""

    text = ""

    def tail(self) -> str:
        """Return the last lines that say what went wrong, the last lines at all where none does."""
        said = [line for line in self.text.splitlines() if line.strip() and not _DATA.search(line)]
        lines = [_STAMP.sub("", line.strip()) for line in said if not _FRAME.match(line.strip())]
        telling = [line for line in lines if any(word in line.lower() for word in _TELLING)]
        return " | ".join((telling or lines)[-_KEPT_LINES:])


@contextlib.contextmanager
def captured_stderr(capture: StderrCapture) -> Iterator[None]:
    """Hear what is written to stderr, by whatever thread, while it still goes where it went.

    Another process copies it: one that ``abort`` ends would take what is not yet copied with it.
    """
    with tempfile.NamedTemporaryFile() as kept:
        sys.stderr.flush()
        own = os.dup(2)
        tee = subprocess.Popen(["tee", kept.name], stdin=subprocess.PIPE, stdout=own)  # noqa: S607 -- any tee will do
        assert tee.stdin is not None  # noqa: S101 -- it was asked for
        os.dup2(tee.stdin.fileno(), 2)
        tee.stdin.close()
        try:
            yield
        except BaseException:
            time.sleep(_FLUSH_S)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)  # the last end of the pipe that is written to, so that tee ends
            os.close(own)
            tee.wait()
            capture.text = Path(kept.name).read_text(encoding="utf-8", errors="replace")


class Specials:
    """The special tokens and the template that a converted file holds."""

    settings: tuple[dict[str, Any], ...] = (
        {"enable_thinking": False},
    )  # llama.cpp's server tells templates to think unless it is told not to

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said
        self._tokens: list[str] = said.get("tokenizer.ggml.tokens") or []
        self._template = str(said.get("tokenizer.chat_template") or "")
        self.has_template = bool(self._template)

    def specials(self) -> dict[str, Any]:
        kind, cut = self._said.get("tokenizer.ggml.model"), self._said.get("tokenizer.ggml.pre")
        found: dict[str, Any] = {"class": f"{kind} ({cut})" if cut else str(kind)}
        for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
            index = self._said.get(f"tokenizer.ggml.{key}_token_id")
            found[name] = index
            found[name + "_token"] = self._tokens[index] if index is not None and index < len(self._tokens) else None
        return found

    def own_date(self) -> dict[str, str]:
        """Return the date that the template sets for itself: llama.cpp tells every template the date of today."""
        found = _DATE.search(self._template)
        return {"date_string": found.group(1)} if found else {}

    def with_beginning(self, rendered: str) -> str:
        """Put the beginning token back, which llama.cpp takes off a rendering and adds again as a token."""
        begins = self.specials()["bos_token"]
        meant = begins and ("bos_token" in self._template or begins in self._template)
        if not meant or not self._said.get("tokenizer.ggml.add_bos_token", True) or rendered.startswith(begins):
            return rendered
        return f"{begins}{rendered}"
