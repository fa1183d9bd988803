"""Says which fault an exception out of a runtime is, with its last frames free of this machine's paths."""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probes.catalogue import checks
from probes.checkpoint import BadFileError
from probes.events import Answer, failed

Phrases = Sequence[tuple[str, tuple[str, ...]]]  # faults, and what the messages contain that mean them


class ReportedError(Exception):
    """What a runtime reports of its own failure: the runtime's fault, although our line raises it."""


class FaultError(Exception):
    """A failure whose fault is known where it is raised."""

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(message)
        self.fault = fault


_OURS = Path(__file__).parent
_PATH = re.compile(r"(?<![\w.:/])/(?:[\w.+@~-]+/)+([\w.+@~-]*)")
_MODULE = re.compile(
    r"No module named '?([\w.]+)|cannot import name '[\w.]+' from (?:partially initialized module )?'([\w.]+)"
)


def phrases_in(table: str) -> Phrases:
    """Read lines of a fault, a colon and the phrases of error messages that mean it, in lower case with bars between.

    The first line with a phrase of the message wins. Lines that begin with # are comments.
    """
    lines = [line.strip() for line in table.splitlines()]
    pairs = [line.partition(": ") for line in lines if line and not line.startswith("#")]
    return tuple((fault, tuple(phrases.split(" | "))) for fault, _, phrases in pairs)


# a runtime's own table comes first
_PHRASES = phrases_in("""
    infra-recipe: `model_kwargs` are not used by the model | getpwuid(): uid not found
    needs-remote-code: requires you to execute the | trust_remote_code=true | contains custom code
    unknown-architecture: does not recognize this architecture | unrecognized configuration class
    unknown-architecture: unrecognized model in
    pickle-weights: no file named model.safetensors | does not appear to have a file named model.safetensors
    pickle-weights: weights_only | safe_serialization
    bad-checkpoint: incompletemetadata | headertoolarge | invalidheader | error while deserializing header
    bad-checkpoint: not a valid json file | metadataincompletebuffer | invalidoffset | tensorinvalidinfo
    bad-checkpoint: tensoroverlap | headertoosmall
    missing-dependency: requires the following packages | but it was not found in your environment
    missing-dependency: you need to install | you need to have | requires installing | please install
    unsupported-on-platform: not compiled with cuda | no nvidia driver | found no nvidia | requires cuda
    unsupported-on-platform: requires a gpu | no gpu found | not implemented for 'cpu' | not supported on cpu
    unsupported-on-platform: only supports cuda | expected a cuda device
    unsupported-on-platform: pointer argument (at 0) cannot be accessed from triton
    not-finite: probability tensor contains either | input contains nan
""")
# limits of ours, in the words of the kernel, of Python's threads and of Rust, which raises no OSError for them
_LIMITS = (
    (
        "infra-memory",
        {errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE},
        ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory", "std::bad_alloc",
         "can't start new thread", "resource temporarily unavailable", "too many open files"),
    ),
    (
        "infra-disk",
        {errno.ENOSPC, errno.EDQUOT, errno.EIO},
        ("no space left on device", "disk quota exceeded", "input/output error"),
    ),
)  # fmt: skip
_RUST_ERRNO = re.compile(r"\bos error (\d+)\b")


def failure(exception: BaseException, check: str, runtime: str, phrases: Phrases = ()) -> Answer:
    """Return the failed answer for an exception that a check let through."""
    return failed(
        classify(exception, check, runtime, phrases),
        without_paths(f"{type(exception).__name__}: {exception}"),
        exception=type(exception).__name__,
        frames=frames(exception),
    )


def classify(exception: BaseException, check: str, runtime: str, phrases: Phrases = ()) -> str:
    chain = _chain(exception)
    imports = next((link for link in chain if isinstance(link, ImportError)), None)
    named = next((link.fault for link in chain if isinstance(link, FaultError)), "")
    text = " ".join(f"{type(link).__name__}: {link}" for link in chain)
    fault = named or fault_in(text, phrases) or _infra_fault(chain)
    fault = fault or (_import_fault(imports, check, runtime) if imports else "")
    fault = fault or ("bad-checkpoint" if isinstance(exception, BadFileError) else fault_in(text, _PHRASES))
    if not fault and _raised_by_us(exception):
        fault = "infra-recipe"
    return fault or _fault_of(check)


def _infra_fault(chain: list[BaseException]) -> str:
    for link in chain:
        text = str(link).lower()
        numbers = {int(number) for number in _RUST_ERRNO.findall(text)}
        if isinstance(link, OSError) and link.errno is not None:
            numbers.add(link.errno)
        if isinstance(link, MemoryError):
            return "infra-memory"
        for fault, errnos, phrases in _LIMITS:
            if numbers & errnos or any(phrase in text for phrase in phrases):
                return fault
        if isinstance(link, OSError) and link.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            return "infra-recipe"  # what we mounted is not readable, or what we made read-only is wanted
    return ""


def fault_in(text: str, phrases: Phrases) -> str:
    """Return the fault of the first saying that occurs in what was said, "" for none; sayings are in lower case."""
    text = text.lower()
    return next((fault for fault, phrases in phrases if any(phrase in text for phrase in phrases)), "")


def _import_fault(exception: ImportError, check: str, runtime: str) -> str:
    """Return the fault for an import: a missing package, a broken one, or the runtime itself."""
    named = _MODULE.search(str(exception))
    module = (exception.name or (named and (named.group(1) or named.group(2))) or "").split(".")[0]
    if module and module != runtime:
        return "missing-dependency" if isinstance(exception, ModuleNotFoundError) else "dependency-import-error"
    if not module and fault_in(str(exception), [row for row in _PHRASES if row[0] == "missing-dependency"]):
        return "missing-dependency"
    if not module and ".so" in str(exception):
        return "dependency-import-error"
    return _fault_of(check)


def _fault_of(check: str) -> str:
    return "import-error" if check == "installs.imports" else checks()[check].fault


def _raised_by_us(exception: BaseException) -> bool:
    """Return whether our line raised it: then our recipe does not fit this release."""
    if isinstance(exception, ReportedError):
        return False
    extracted = traceback.extract_tb(exception.__traceback__)
    return bool(extracted) and Path(extracted[-1].filename).is_relative_to(_OURS)


def _chain(exception: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = exception
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return links


def frames(exception: BaseException, limit: int = 6) -> list[dict[str, Any]]:
    """Return the innermost frames as file, line and function: places in packages, never places on this host."""
    extracted = traceback.extract_tb(exception.__traceback__)[-limit:]
    return [{"file": Path(frame.filename).name, "line": frame.lineno, "function": frame.name} for frame in extracted]


def without_paths(text: str) -> str:
    return _PATH.sub(r"\1", text)
