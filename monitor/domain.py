"""The words of the domain as closed sets and frozen values; pure, and the vocabulary of every other module."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime


class Rung(IntEnum):
    """The support ladder; stored and shown by name, ordered by number."""

    INSTALLS = 0
    KNOWS = 1
    LOADS = 2
    GENERATES = 3
    SPEAKS = 4
    MATCHES = 5
    SERVES = 6
    ADAPTS = 7
    TRAINS = 8

    def __str__(self) -> str:
        return self.name.lower()


BAR = (Rung.INSTALLS, Rung.KNOWS, Rung.LOADS, Rung.GENERATES, Rung.SPEAKS)


ABOVE_THE_BAR = (Rung.MATCHES, Rung.SERVES, Rung.TRAINS)  # shown beside every *works*, which they do not decide


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRecord:
    """All that the monitor knows of one runtime."""

    family: str  # runtimes of one family share their code: that they agree is no independent evidence
    bar: tuple[Rung, ...] = BAR  # the rungs over which a cell's verdict is taken
    repositories: Mapping[str, str] = field(default_factory=dict)  # what it is built from: project to git address
    image: bool = False  # its releases are the tags of a container image, and no package on the index
    nightlies: bool = False  # its publisher keeps a folder of wheels, one a commit
    reader: str = ""  # the runtime through which it reads a model's configuration, "" where it reads it by itself


_TRANSFORMERS = {"transformers": "https://github.com/huggingface/transformers"}
_VLLM = {"vllm": "https://github.com/vllm-project/vllm", **_TRANSFORMERS}
_LLAMA_CPP = {"llama.cpp": "https://github.com/ggml-org/llama.cpp"}
_OLLAMA = {"ollama": "https://github.com/ollama/ollama"}
_TRAINING_BAR = (Rung.INSTALLS, Rung.KNOWS, Rung.LOADS, Rung.TRAINS)  # of what is no way to generate text


class Runtime(StrEnum):
    """A runtime under test: a name and its record, a recipe in containers/recipes, an adapter in probes/runtimes."""

    record: RuntimeRecord

    TRANSFORMERS = "transformers", RuntimeRecord(family="transformers", repositories=_TRANSFORMERS)
    OLLAMA = "ollama", RuntimeRecord(family="llama.cpp", repositories=_OLLAMA | _LLAMA_CPP, image=True)
    PEFT = "peft", RuntimeRecord(family="transformers", repositories=_TRANSFORMERS, bar=_TRAINING_BAR)
    XLLAMACPP = "xllamacpp", RuntimeRecord(family="llama.cpp", repositories=_LLAMA_CPP)
    LLAMA_CPP_PYTHON = "llama-cpp-python", RuntimeRecord(family="llama.cpp", repositories=_LLAMA_CPP)
    VLLM = "vllm", RuntimeRecord(family="vllm", repositories=_VLLM, nightlies=True, reader="transformers")

    def __new__(cls, name: str, record: RuntimeRecord | None = None) -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.record = record or RuntimeRecord(family=name)
        return member


REFERENCE = Runtime.TRANSFORMERS  # what the others' numbers are compared with


class Channel(StrEnum):
    STABLE = "stable"
    PRERELEASE = "prerelease"
    NIGHTLY = "nightly"


class Compatibility(StrEnum):
    """What there is of a release for the platform that asks."""

    WHEEL = "wheel"
    SOURCES = "sources"  # to be built first
    NOTHING = "nothing"  # it wants another Python, or has wheels for other machines only
    UNKNOWN = "unknown"  # its source lists no files


class Origin(StrEnum):
    """Why a run exists; only live and replay enter the daily history."""

    LIVE = "live"
    REPLAY = "replay"
    ADHOC = "adhoc"


class InstalledAsOf(StrEnum):
    """The day whose packages are installed beside a pinned version: two questions with two answers."""

    RELEASE_DAY = "release-day"  # the day on which the version was published: what its first users got
    RUN_DAY = "run-day"  # the day of the run: what a user gets who installs that version then


class Depth(StrEnum):
    """How much a run asks: the quick part, or the deep part too, whose checks take long."""

    QUICK = "quick"
    NEEDED = "needed"  # deep where the release, the files or the suite are new, or the last deep run failed
    DEEP = "deep"


class Purpose(StrEnum):
    """What a run is for; only ``probe`` and ``confirm`` speak for their day."""

    PROBE = "probe"
    CONFIRM = "confirm"
    CONTROL = "control"  # the control again, in the runtime's last good environment
    SUITE = "suite"  # a new suite against the last good environment, before it may speak of change


class Blame(StrEnum):
    RUNTIME = "runtime"
    DEPENDENCY = "dependency"
    PLATFORM = "platform"
    MODEL = "model"
    REFERENCE = "reference"
    INFRA = "infra"  # our own installation and measuring machinery
    UNATTRIBUTED = "unattributed"


class Outcome(StrEnum):
    """What became of one check in one run."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"  # ours: it ran or should have run, and says nothing about the runtime
    SKIPPED = "skipped"  # does not apply to this cell; the message says why
    NOT_REACHED = "not-reached"  # an earlier check of the same subject ended the session


class Verdict(StrEnum):
    """Per cell, rung and UTC day."""

    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not-applicable"
    NOT_MEASURED = "not-measured"


class CellVerdict(StrEnum):
    """A cell's own verdict, taken at the bar."""

    WORKS = "works"
    BROKEN = "broken"
    FLAKY = "flaky"
    UNKNOWN = "unknown"


class Isolation(StrEnum):
    CONTAINER = "container"
    PROCESS = "process"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    FAILURE = "failure"


class SubjectForm(StrEnum):
    MINIATURE = "miniature"
    FULL = "full"
    FOLDER = "folder"


class HubName(NamedTuple):
    """What the hub calls a model; one without an organisation has "" there."""

    organisation: str
    name: str

    @classmethod
    def parse(cls, text: str) -> HubName:
        organisation, _, name = text.rpartition("/")
        return cls(organisation, name)


class ModelKind(StrEnum):
    DENSE = "dense"
    MIXTURE = "mixture"
    HYBRID = "hybrid"


class ReleaseKind(StrEnum):
    """What the source of a release day dates."""

    WEIGHTS = "weights"  # they can be downloaded
    ANNOUNCEMENT = "announcement"
    PAPER = "paper"
    LISTING = "listing"  # Settle itself saw the model in its organisation's listing, or its first commit since


class Confidence(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Model:
    """A published checkpoint. ``released`` is None when no source for the day is known.

    A repository may be private at first, so the release lies between ``created`` and ``released``, the day on which an
    independent source first shows it.
    """

    id: str
    family: str
    architecture: str
    kind: ModelKind
    organisation: str = ""
    released: date | None = None
    released_source: str = ""
    license: str = ""
    note: str = ""
    control: bool = False
    created: date | None = None  # the earliest day of the release; None: ``released`` alone is known
    released_kind: ReleaseKind | None = None
    released_confidence: Confidence | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is probed: one form of one model; ``digest`` names its files, byte for byte."""

    id: str
    model_id: str
    form: SubjectForm
    architecture: str
    digest: str
    qualified: bool = False  # has passed in some release: an unclassified failure counts against the runtime
    first_known: str = ""  # first release of transformers that registers the architecture, "" when not known
    control: bool = False

    @property
    def shares_sessions(self) -> bool:
        """Whether it is a miniature whose files are under our control, and not a folder that a user may change."""
        return self.form is SubjectForm.MINIATURE and not folder_named(self.id)


_FOLDER = "folder:"


def folder_id(folder: object) -> str:
    """Return the id of a folder of the user's own, as model, as subject and as source alike."""
    return f"{_FOLDER}{folder}"


def folder_named(subject_id: str) -> str:
    """Return the path of the folder that a subject is, "" where it is none."""
    return subject_id.removeprefix(_FOLDER) if subject_id.startswith(_FOLDER) else ""


@dataclass(frozen=True, slots=True)
class Platform:
    python: str  # "3.11"
    accelerator: str  # "cpu" | "cuda"
    isolation: Isolation

    def __str__(self) -> str:
        return f"{self.accelerator}-py{self.python}-{self.isolation}"

    @classmethod
    def parse(cls, text: str) -> Platform:
        accelerator, python, isolation = text.split("-")
        return cls(python=python.removeprefix("py"), accelerator=accelerator, isolation=Isolation(isolation))


@dataclass(frozen=True, slots=True)
class Cell:
    """The thing that has a history: subject x runtime x channel x platform."""

    subject_id: str
    runtime: Runtime
    channel: Channel
    platform: Platform

    @property
    def id(self) -> str:
        return f"{self.subject_id}@{self.runtime}/{self.channel}/{self.platform}"

    @classmethod
    def parse(cls, text: str) -> Cell:
        subject_id, _, where = text.rpartition("@")
        runtime, channel, platform = where.split("/")
        return cls(subject_id, Runtime(runtime), Channel(channel), Platform.parse(platform))


@dataclass(frozen=True, slots=True)
class Release:
    runtime: Runtime
    version: str
    channel: Channel
    published_at: datetime
    yanked: str = ""  # the reason, or "yes" without one; "" when not yanked
    requires_python: str = ""
    wheels: tuple[str, ...] | None = None  # file names; None where the source lists no files
    has_sources: bool = False
    compatibility: Compatibility = Compatibility.UNKNOWN
    revision: str = ""  # the commit of a nightly


WRONG_NUMBERS = "wrong numbers"


def shown_verdict(verdict: str, rungs: Mapping[Rung, str]) -> str:
    """Return a cell's verdict in the words of a page: one that works with wrong numbers does not read *works* alone."""
    wrong = verdict == CellVerdict.WORKS and rungs.get(Rung.MATCHES) == Verdict.FAILED
    return f"{verdict}, {WRONG_NUMBERS}" if wrong else verdict


def was_not_asked(row: Mapping[str, Any]) -> bool:
    """Return whether a cell is unknown because our own machinery could not install or start its runtime."""
    return (row["verdict"], row["rung"], row["blame"]) == (CellVerdict.UNKNOWN, str(Rung.INSTALLS), Blame.INFRA)


def version_order(text: str) -> tuple[Version, str]:
    """Return what sorts versions as versions; a pair (``0.18.0 with X==Y``) follows its release, "" comes first."""
    try:
        return Version(text.partition(" ")[0]), text
    except InvalidVersion:
        return Version("0.dev0"), text


@dataclass(frozen=True, slots=True)
class Ending:
    """How the process that should have answered for a subject ended."""

    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    out_of_memory: bool = False
    engine_fault: str = ""  # the engine itself failed: ours
    seconds: float = 0.0
    peak_memory_bytes: int | None = None

    @property
    def clean(self) -> bool:
        return self.exit_code == 0 and not (self.timed_out or self.out_of_memory or self.engine_fault)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of one run, after judgement."""

    name: str
    rung: Rung
    outcome: Outcome
    fault: str = ""  # key of monitor.judge.faults.BLAME, "" when passed
    blame: Blame | None = None
    message: str = ""
    signature: str = ""  # equal failures have equal signatures, across paths, addresses and numbers
    seconds: float = 0.0
    evidence: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RungVerdict:
    rung: Rung
    verdict: Verdict
    reason: str
    blame: Blame | None = None
    fault: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """What one run says: a verdict a rung, and the cell's own verdict at the bar with the rung that decided it."""

    verdict: CellVerdict
    rung: Rung | None
    reason: str
    blame: Blame | None
    fault: str
    signature: str
    rungs: tuple[RungVerdict, ...]
