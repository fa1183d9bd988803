"""The boundary between checks and runtimes: what a runtime's adapter answers and declares."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from probes.configuration import Effective
    from probes.pictures import Picture
    from probes.runtimes.peft import Adapted
    from probes.runtimes.training import Trainee
    from probes.served import Server
    from probes.subject import Subject


class Trace(Protocol):
    """Log-probabilities of one row, position by position, in whatever tensors the runtime has."""

    @property
    def finite(self) -> bool: ...
    @property
    def spread(self) -> float:
        """Return the standard deviation over the vocabulary, averaged over positions."""

    def __len__(self) -> int: ...
    def __getitem__(self, positions: slice) -> Trace: ...
    def distance(self, other: Trace) -> float:
        """Return the largest absolute difference of log-probabilities, ``inf`` when shapes differ."""

    def top(self, count: int) -> list[list[list[Any]]]:
        """Return per position the ids and the log-probabilities of the likeliest tokens."""

    def at(self, ids: Sequence[Sequence[int]]) -> list[list[float | None]]:
        """Return per position the log-probabilities of the given ids, None where the runtime does not say."""


class Model(Protocol):
    """A loaded model. What a runtime cannot do raises UnavailableError, and the check says so."""

    independent: bool  # computes with its runtime's code, and not with that of transformers

    @property
    def attention(self) -> str:
        """Return the implementation that really runs."""

    def forward(self, row: Sequence[int]) -> Trace:
        """Return the log-probabilities of one pass without a cache."""

    def perturb(self, row: Sequence[int]) -> Trace:
        """Do the same with every embedding moved by float32's last bit, at random."""

    def generate(self, rows: Sequence[Sequence[int]], steps: int, plan: Plan) -> list[Generated]:
        """Generate greedily for rows, padded on the left when their lengths differ."""

    def vectors(self, rows: Sequence[Sequence[int]]) -> list[Trace]:
        """Return the vectors of each row's tokens, of one batch that is padded on the right."""

    def scores(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return what a reranking model says of each row, a number for each of its labels."""

    def pictured(self, words: Sequence[str], pictures: Sequence[Picture], forced: Sequence[int] = ()) -> Pictured:
        """Return the answer to words with a picture between each two, or to those that ``forced`` continues."""

    def ways(self) -> Ways:
        """Return other ways to compute the same."""

    def rebuilt(self, config: Any) -> Model:
        """Return a model of another configuration on the same weights; raise where it has other tensors."""

    def loading(self, *, values: bool) -> Loading:
        """Return what the runtime reports of loading, and with ``values`` what they show."""

    def parts(self) -> dict[str, int]: ...
    def save(self, folder: Path) -> None: ...


class Ways(Protocol):
    """Other ways to compute a text; they raise whatever a runtime raises that does not have one of them."""

    kinds: Sequence[str]  # of caches

    def continued(self, row: Sequence[int], cuts: Sequence[int]) -> Trace:
        """Return the log-probabilities from the first cut on: each piece between two cuts goes on from the cache."""

    def padded(self, rows: Sequence[Sequence[int]]) -> list[Trace]:
        """Return the log-probabilities of each row's tokens, of one batch that is padded on the right."""

    def left_padded(self, row: Sequence[int], padding: int, forced: Sequence[int]) -> Trace:
        """Return the log-probabilities before each forced token, of one row with padding before it."""

    def cached_as(self, kind: str, row: Sequence[int], forced: Sequence[int]) -> Trace:
        """Return the same without padding, with a cache of this kind."""

    def looked_up(self, row: Sequence[int], forced: Sequence[int]) -> Trace:
        """Return the same, with several tokens at once proposed from the prompt."""

    def assisted(self, row: Sequence[int], forced: Sequence[int]) -> Trace:
        """Return the same, with several tokens at once proposed by the model itself."""


class Tokenizer(Protocol):
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...
    def specials(self) -> dict[str, Any]: ...
    def render(self, messages: list[dict[str, Any]]) -> str: ...

    has_template: bool


class Runtime(Protocol):
    """What the checks ask of a runtime; an adapter leaves out what needs an ability that it does not declare."""

    abilities: tuple[str, ...]  # it is asked the checks that need one of these, or nothing
    stands_on: str  # the runtime whose code answers for the checks that both are asked, "" without one
    phrases: Sequence[tuple[str, tuple[str, ...]]]  # fault and what its messages contain, before the general ones
    rounding: float  # what equal sums may differ by, per unit of the logits' spread
    loads_forms: bool  # it is asked to load weights in the form in which they are published
    text_only: bool  # the subject's files are ours: nothing but text is asked of them

    def load(self) -> dict[str, str]:
        """Import the runtime; return the versions of what was really imported."""

    def prime(self) -> None:
        """Run a throwaway model, so that everything imported lazily is imported before the first fork."""

    def after_fork(self) -> None: ...
    def seed(self, seed: int) -> None: ...
    def registered(self) -> int: ...
    def knows(self, model_type: str) -> bool: ...
    def config(self, folder: Path) -> Any: ...
    def effective(self, config: Any, config_json: dict[str, Any]) -> Effective: ...
    def model(self, folder: Path, config: Any, config_json: dict[str, Any], attention: str) -> Model:
        """Load the model, with the attention of a user who names none where none is named."""

    def halved(self, folder: Path, config: Any, config_json: dict[str, Any]) -> Model:
        """Load the model in bfloat16, with the attention of a user who names none."""

    def attentions(self, model: Model) -> tuple[str, ...]:
        """Return the attention implementations that the model's class says it has, besides the first one."""

    def tokenizer(self, folder: Path) -> Tokenizer: ...
    def trainee(self, folder: Path, config: Any, config_json: dict[str, Any], rows: list[list[int]]) -> Trainee: ...
    def adapted(self, folder: Path, config: Any, config_json: dict[str, Any], rows: list[list[int]]) -> Adapted: ...
    def reloaded_adapter(self, saved: Path, folder: Path, config: Any, config_json: dict[str, Any]) -> Model:
        """Load the model again, and on it the saved adapter."""

    def convert(self, subject: Subject) -> dict[str, Any]:
        """Convert the checkpoint into the runtime's own format; return ``class`` and other facts."""

    def metadata(self) -> dict[str, Any]:
        """Return what the converted file says of the model, by the format's own keys."""

    def quantised(self, subject: Subject, kind: str) -> Model:
        """Load the checkpoint in a quantised form such as q8_0."""

    def form(self, folder: Path, subject: Subject) -> Model:
        """Load a folder that was made of the subject's, such as its weights in the form in which they are published."""

    def serve(self, subject: Subject) -> tuple[Server, float]:
        """Return a server of the model that is ready, and the seconds that took."""


class Adapter:
    """What adapters have in common: they declare no ability, draw nothing at random, and share no state over a fork."""

    abilities: tuple[str, ...] = ()
    stands_on = ""
    phrases: Sequence[tuple[str, tuple[str, ...]]] = ()
    rounding = 1e-4  # float32 through a few layers, in kernels that sum in another order
    text_only = False
    loads_forms = False

    def prime(self) -> None:
        """Import nothing more: the import is complete."""

    def after_fork(self) -> None:
        """Keep what the parent has: it started no thread."""

    def seed(self, seed: int) -> None:
        """Draw nothing at random: the checks ask greedily, or with a seed of their own."""

    def knows(self, model_type: str) -> bool:
        """Leave the answer to ``config``: there is no table of model types to look into."""
        return bool(model_type)


def imported_versions(*names: str) -> dict[str, str]:
    """Return the versions of those modules that are imported and say theirs."""
    versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in names}
    return {name: str(version) for name, version in versions.items() if version}


class Plan(NamedTuple):
    """How to generate: ``forced`` tokens a row instead of the likeliest, ``eos`` instead of the model's own."""

    cache: bool = True
    forced: tuple[tuple[int, ...], ...] = ()
    eos: tuple[int, ...] | None = None
    full_length: bool = True  # never end before all steps are made


class Generated(NamedTuple):
    tokens: list[int]
    trace: Trace
    cached: bool | None  # the prefix was not computed again; None where one step does not show it


class Pictured(NamedTuple):
    """The tokens of a prompt with pictures, as the runtime's processor makes them, and the answer."""

    ids: list[int]
    trace: Trace


class Loading(NamedTuple):
    """What the runtime reports of loading, and what the values show (``lost``, ``invented``)."""

    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]
    lost: list[str]  # in a file, not excused by the runtime, and its values are nowhere in the model
    invented: list[str]  # in the model, and its values are in no file
    counts: dict[str, int]  # empty when no values were compared


class UnavailableError(Exception):
    """The runtime itself has no such implementation; the check is skipped with this reason and evidence."""

    def __init__(self, reason: str, evidence: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.evidence = evidence or {}
