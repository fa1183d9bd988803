"""The page of all runtimes side by side, by release: what works where, how far numbers are apart, and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.domain import CellVerdict, Runtime, Verdict
from monitor.report.format import LETTERS, MINIATURES, Section

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from monitor.store import Reader

Row: TypeAlias = "Mapping[str, Any]"
Column: TypeAlias = "tuple[Runtime, str]"  # with the version, "" where none could be installed
Published: TypeAlias = "Mapping[Runtime, Mapping[str, date]]"  # the day of each version

_GENERATED = (
    "Generated from the second history that ships with Settle, by `python -m tools.refresh findings`;"
    " `settle demo --runtimes` opens the same history: `status` shows its matrix, `show RUN` the evidence of a row, and"
    " `query` answers from its views `by_release` and `parity`, of which the tables below are made."
)
_ORDER = tuple(Runtime)
FEWEST_ALIKE = 3  # older releases fail in hundreds of ways


def runtimes_page(store: Reader) -> Iterator[Section]:
    """Yield the page's sections: counts, the newest releases with every reason, the older ones, and parity."""
    told = store.by_release()
    published = {runtime: _published(store, runtime) for runtime in Runtime}
    columns = _columns(told, published)
    newest = tuple({runtime: (runtime, version) for runtime, version in columns}.values())  # each runtime's last
    older = [column for column in columns if column not in newest]
    platforms = ", ".join(sorted({row["platform"] for row in told}))
    first, last = (choose(row["day"] for row in told) for choose in (min, max))
    yield Section(
        "Runtimes side by side",
        (_GENERATED, MINIATURES, f"Measured from {first} to {last} ({platforms})."),
        level=1,
    )
    yield _counts(told, columns, published)
    yield _newest(told, newest)
    yield _why("Why, in the newest releases", told, newest)
    yield _every(told, columns)
    yield _why("Why, in older releases", told, older, fewest=FEWEST_ALIKE)
    compared = store.parity()
    yield _parity(compared, columns)
    yield _differences(compared, columns)


def _published(store: Reader, runtime: Runtime) -> dict[str, date]:
    return {release.version: release.published_at.date() for release in store.releases(runtime)}


def _columns(told: Sequence[Row], published: Published) -> list[Column]:
    """Return every release that was asked, runtime by runtime, the oldest first."""
    found = {(Runtime(row["runtime"]), str(row["version"] or "")) for row in told}
    return sorted(found, key=lambda one: (_ORDER.index(one[0]), str(published[one[0]].get(one[1], "")), one[1]))


def _counts(told: Sequence[Row], columns: Sequence[Column], published: Published) -> Section:
    verdicts = {column: Counter(row["verdict"] for row in told if _of(row) == column) for column in columns}
    rows = []
    for runtime, version in columns:
        count = verdicts[runtime, version]
        day = published[runtime].get(version, "")
        numbers = (count.total(), *(count[verdict] for verdict in CellVerdict))
        rows.append((runtime, version or "-", str(day), *(str(number) for number in numbers)))
    note = (
        "An older release was asked by hand about everything that is watched, unless its row counts fewer. Unknown is"
        " what could not be measured: a limit of Settle's own, a miniature that does not fit, or a release that cannot"
        " be asked, as one without a server. The reasons stand below."
    )
    heading = ("runtime", "release", "published", "asked", *map(str, CellVerdict))
    return Section("How much works in which release", (note,), heading, tuple(rows))


def _newest(told: Sequence[Row], columns: Sequence[Column]) -> Section:
    cells = {(row["subject"], _of(row)): row for row in told}
    rows = [(subject, *(_in_words(cells.get((subject, column))) for column in columns)) for subject in _subjects(told)]
    heading = ("subject", *(_titled(column) for column in columns))
    return Section("The newest releases", ("In brackets stands the rung that fails.",), heading, tuple(rows))


def _every(told: Sequence[Row], columns: Sequence[Column]) -> Section:
    cells = {(row["subject"], _of(row)): row for row in told}
    asked = [column for column in columns if column[1]]
    rows = [(subject, *(_in_a_letter(cells.get((subject, column))) for column in asked)) for subject in _subjects(told)]
    legend = "W works, B broken, F flaky, ? unknown (ours), . not asked."
    return Section("Every release", (legend,), ("subject", *(_titled(column) for column in asked)), tuple(rows))


def _why(title: str, told: Sequence[Row], columns: Sequence[Column], *, fewest: int = 1) -> Section:
    """Return why what does not work does not; equal reasons are told once, if ``fewest`` subjects share them."""
    alike: dict[tuple[Column, str, str, str], list[Row]] = {}
    for column in columns:
        for row in told:
            if _of(row) == column and row["verdict"] != CellVerdict.WORKS:
                alike.setdefault((column, row["verdict"], row["blame"] or "", row["reason"]), []).append(row)
    rows = [
        (
            _titled(column),
            verdict,
            blame,
            reason,
            f"all {len(own)}" if len(own) == len(_subjects(told)) else ", ".join(row["subject"] for row in own),
            own[0]["run"][:12] if own[0]["run"] else "",
        )
        for (column, verdict, blame, reason), own in alike.items()
        if len(own) >= fewest
    ]
    heading = ("release", "verdict", "blame", "reason", "subjects", "run of the first")
    notes = (f"Reasons that {fewest} subjects or more have in common.",) if fewest > 1 else ()
    return Section(title, notes, heading, tuple(rows))


def _parity(compared: Sequence[Row], columns: Sequence[Column]) -> Section:
    """Return how far each release's log-probabilities are from the reference's, in short."""
    note = (
        "The largest difference of a log-probability, in nats, over every position of the forced texts, from the pinned"
        " transformers. docs/definitions.md says how much is allowed for rounding."
    )
    rows = []
    for column in columns:
        own = [row for row in compared if _of(row) == column]
        if not own:
            continue
        count = Counter(row["verdict"] for row in own)
        rows.append(
            (
                _titled(column),
                str(len(own)),
                *(str(count[verdict]) for verdict in (Verdict.PASSED, Verdict.FAILED, Verdict.UNKNOWN)),
                _largest(own),
            )
        )
    heading = ("release", "compared", "within rounding", "differ", "undecided", "largest")
    return Section("Parity: how far numbers are from the reference", (note,), heading, tuple(rows))


def _differences(compared: Sequence[Row], columns: Sequence[Column]) -> Section:
    """Return every difference beyond rounding, the largest first; what several releases share is told once."""
    alike: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in sorted(compared, key=lambda row: -float(row["max"])):
        if row["verdict"] != Verdict.PASSED:
            key = (row["subject"], f"{row['max']:.2g}", row["verdict"], row["cause"] or "")
            alike.setdefault(key, []).append(row)
    within = {(row["subject"], _of(row)) for row in compared if row["verdict"] == Verdict.PASSED}
    rows = []
    for (subject, maximum, verdict, cause), own in alike.items():
        own.sort(key=lambda row: columns.index(_of(row)))
        mended = [_mended(subject, _of(row), within, columns) for row in own]
        rows.append(
            (
                subject,
                ", ".join(_titled(_of(row)) for row in own),
                maximum,
                *(f"{own[0][name]:.2g}" for name in ("p99", "allowed")),
                verdict,
                cause,
                ", ".join(dict.fromkeys(filter(None, mended))),
                own[0]["run"][:12],
            )
        )
    return Section(
        "Every difference beyond rounding",
        ("A cause is what a person found by looking; it excuses nothing, for the verdict is by the numbers alone.",),
        (
            "subject",
            "releases",
            "maximum",
            "99th percentile",
            "allowed",
            "verdict",
            "cause",
            "rounding again in",
            "run",
        ),
        tuple(rows),
    )


def _mended(subject: str, column: Column, within: Collection[tuple[str, Column]], columns: Sequence[Column]) -> str:
    """Return the first later release of those asked in which nothing but rounding is left, "" where there is none."""
    later = columns[columns.index(column) + 1 :]
    return next((_titled(one) for one in later if one[0] is column[0] and (subject, one) in within), "")


def _largest(rows: Iterable[Row]) -> str:
    farthest = max(rows, key=lambda row: float(row["max"]))
    return f"{farthest['max']:.2g}, {farthest['subject']}"


def _of(row: Row) -> Column:
    return Runtime(row["runtime"]), str(row["version"] or "")


def _subjects(told: Iterable[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row["subject"] for row in told))


def _titled(column: Column) -> str:
    return " ".join(filter(None, column))


def _in_words(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row['verdict']} ({row['rung']})" if row["rung"] else str(row["verdict"])


def _in_a_letter(row: Row | None) -> str:
    return "." if row is None else LETTERS[CellVerdict(row["verdict"])]
