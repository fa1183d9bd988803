"""Generates the two pages of docs/ that show the shipped histories: the findings, and all runtimes by release."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.domain import (
    CellVerdict,
    InstalledAsOf,
    Rung,
    Runtime,
    Verdict,
    shown_verdict,
    version_order,
    was_not_asked,
)
from monitor.report.by_release import packages_as_of, read_by_release
from monitor.report.causes import causes, causes_section
from monitor.report.evidence import Evidence
from monitor.report.format import LETTER_LEGEND, LETTERS, MINIATURES, Section, quantile_text, share_text
from monitor.report.sections import answer_sections
from monitor.report.summary import rung_tracks, summaries
from monitor.store.reader import DAILY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from monitor.report.summary import Summary
    from monitor.store import Reader

Row: TypeAlias = "Mapping[str, Any]"
# with the version, "" where none could be installed, and "" or a mark that it was installed as of another day
RuntimeRelease: TypeAlias = "tuple[Runtime, str, str]"
Published: TypeAlias = "Mapping[Runtime, Mapping[str, date]]"  # the day of each version

_FINDINGS = (
    "Generated from the history that ships with Settle, by `python -m tools.refresh findings`. `settle demo` opens the"
    " same history, and each row below names the command that shows its evidence."
)
_RUNTIMES = (
    "Generated from the second history that ships with Settle, by `python -m tools.refresh findings`."
    " `settle demo --runtimes` opens the same history: `status` shows its matrix, `show RUN` the evidence of a row, and"
    " `query` reads its views `by_release` and `parity`, which the tables below are made from."
)
_CHANGED = (
    (
        "Until November 2026 a version named by hand was installed with the packages of the day of its measurement."
        " vLLM 0.20.0, 0.24.0 and 0.28.0 stood here with transformers 5.24.0, which came after them: Gemma 4 failed in"
        " 0.20.0 and 0.24.0 with an error that transformers 5.24.0 brought, seven architectures worked in 0.20.0 that"
        " transformers learnt later, and two read as regressions that never were."
    ),
    (
        "Since then a row is measured with the packages of the release day. What an old version does with newer"
        " packages is another question (`--installed today`), and its rows say *installed later*."
    ),
    (
        "Miniatures changed, too: they have the published values and keys, and sizes that the kernels of vLLM and"
        " llama.cpp know. Most cells that were unknown for our files have a verdict."
    ),
)
_ORDER = tuple(Runtime)
LATER = " (installed later)"  # a version with the packages of another day than its release day
FEWEST_ALIKE = 3  # older releases fail in hundreds of ways


def findings(store: Reader) -> Iterator[Section]:
    """Yield the page of findings: limits and distributions first, then causes, every track, and unknown days."""
    yield Section("Findings", (_FINDINGS, MINIATURES), level=1)
    tracks = store.tracks()
    through = max(track.observations[-1].day for track in tracks)
    known = read_by_release(store).observations
    for summary in summaries(tracks, through, rungs=rung_tracks(store, tracks, through), by_release=known):
        limits, *rest = answer_sections(store, summary)
        yield Section(limits.title, limits.notes)
        yield _answer(summary)
        yield causes_section(causes(Evidence(store), summary.lines))
        yield from rest
        yield _unknown(store, summary)


def _answer(summary: Summary) -> Section:
    sentences = []
    for group in filter(None, (summary.groups[0], summary.undoubted)):
        for event, times in (("work", group.works), ("are stable", group.stable)):
            if times is None:
                continue
            missing = ", ".join(f"{share_text(share)} not by day {share.day}" for share in times.not_by)
            sentence = (
                f"Of {times.entries} models with a known release day ({times.architectures} architectures) half {event}"
                f" by day {quantile_text(times.median)} after their release, three quarters by day"
                f" {quantile_text(times.upper_quartile)}; {missing}."
            )
            doubts = summary.groups[0].doubts
            if group is summary.undoubted:
                sentence = f"With the doubts about {doubts} of them taken at their word: {sentence}"
            elif doubts:
                sentence += f" {doubts} of these models have days that are in doubt."
            sentences.append(sentence)
    sentences.append(
        "In brackets are 95 percent intervals; how often they hold the truth at this number of architectures is in"
        " [definitions.md](definitions.md)."
    )
    return Section("The answer", tuple(sentences))


def _unknown(store: Reader, summary: Summary) -> Section:
    """Return the days that stayed unknown, with the reasons: a large share would be a fault of Settle's."""
    runtime = summary.lines[0].track.runtime
    rows = store.report.unknown_days(runtime)
    total = store.report.probed_days(runtime)
    count = sum(int(row["days"]) for row in rows)
    return Section(
        "Days that stayed unknown",
        (f"{count} of {total} probed days of cells ({count / max(1, total):.1%}).",),
        ("subject", "days", "first", "last", "reason", "show"),
        tuple(
            (
                row["subject"],
                str(row["days"]),
                f"{row['first']} ({row['version']})",
                row["last"],
                row["reason"],
                f"settle demo show {row['run']}",
            )
            for row in rows
        ),
    )


def runtimes_page(store: Reader) -> Iterator[Section]:
    """Yield the page of runtimes: counts, the newest releases with every reason, the older ones, and parity."""
    measured, silent = _apart(_speaking(store.by_release()))
    published = {runtime: _published(store, runtime) for runtime in Runtime}
    releases = _releases(measured)
    newest = tuple({release[0]: release for release in releases if not release[2] or _only(release, releases)}.values())
    older = [release for release in releases if release not in newest]
    platforms = ", ".join(sorted({row["platform"] for row in measured}))
    first, last = (choose(row["day"] for row in measured) for choose in (min, max))
    yield Section(
        "Runtimes side by side",
        (_RUNTIMES, MINIATURES, f"Packages as of {first} to {last} ({platforms}).", *silent),
        level=1,
    )
    yield _counts(measured, releases, published)
    yield _newest(measured, newest)
    yield _reasons("Reasons in the newest releases", measured, newest)
    yield _every(measured, releases)
    yield _reasons("Reasons in older releases", measured, older, fewest=FEWEST_ALIKE)
    daily = {(row["cell"], row["version"]) for row in measured if not row["by_hand"]}
    compared = [
        {**row, "installed": DAILY if (row["cell"], row["version"]) in daily else row["installed"]}
        for row in store.parity()
    ]
    yield _parity(compared, releases)
    yield _differences(compared, releases)
    yield Section("What changed on this page", _CHANGED)


def _published(store: Reader, runtime: Runtime) -> dict[str, date]:
    return {release.version: release.published_at.date() for release in store.releases(runtime)}


def _apart(measured: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows of releases that could be asked, and a sentence for each that could not."""
    members: dict[RuntimeRelease, list[Row]] = {}
    for row in measured:
        members.setdefault(_release_of(row), []).append(row)
    silent = {release: rows for release, rows in members.items() if all(map(was_not_asked, rows))}
    sentences = [f"{_titled(release)} could not be asked: {rows[0]['reason']}" for release, rows in silent.items()]
    return [row for row in measured if _release_of(row) not in silent], sentences


def _speaking(measured: Sequence[Row]) -> list[Row]:
    """Return the rows without those of a release day whose version has days in the history: these came later."""
    daily = {(row["cell"], row["version"]) for row in measured if not row["by_hand"]}
    return [row for row in measured if not row["by_hand"] or (row["cell"], row["version"]) not in daily]


def _only(release: RuntimeRelease, releases: Sequence[RuntimeRelease]) -> bool:
    """Return whether a runtime was measured in no other way."""
    return all(mark for runtime, _, mark in releases if runtime is release[0])


def _releases(measured: Sequence[Row]) -> list[RuntimeRelease]:
    """Return every measured release, runtime by runtime, the oldest first."""
    return sorted(
        {_release_of(row) for row in measured},
        key=lambda release: (_ORDER.index(release[0]), version_order(release[1]), release[2]),
    )


def _counts(measured: Sequence[Row], releases: Sequence[RuntimeRelease], published: Published) -> Section:
    rows = []
    for release in releases:
        runtime, version, mark = release
        members = [row for row in measured if _release_of(row) == release]
        count = Counter(row["verdict"] for row in members)
        wrong: int | str = sum(
            row["verdict"] == CellVerdict.WORKS and row["matches"] == Verdict.FAILED for row in members
        )
        if all(row["matches"] is None for row in members):
            wrong = ""  # not compared
        numbers = (
            count.total(),
            count[CellVerdict.WORKS],
            wrong,
            *(count[verdict] for verdict in CellVerdict if verdict is not CellVerdict.WORKS),
        )
        packages = (
            ", ".join(sorted({row[name] for row in members if row[name]}, key=version_order))
            for name in ("torch", "transformers")
        )
        day = published[runtime].get(version, "")
        installed = ", ".join(sorted({packages_as_of(row) for row in members}))
        rows.append(
            (runtime, f"{version or '-'}{mark}", str(day), installed, *packages, *(str(number) for number in numbers))
        )
    note = (
        "Older releases were measured on request, with every watched subject unless their row counts fewer, and with"
        " the packages of their release day; *installed later* is another question, whose failures may be those of"
        " newer packages. Unknown"
        " means not measurable: a limit of Settle, a miniature that does not fit, or a release that cannot be probed,"
        " such as one without a server. The reasons are below."
    )
    heading = (
        *("runtime", "release", "published", "packages as of", "torch", "transformers", "measured"),
        *("works", "of them with wrong numbers", "broken", "flaky", "unknown"),
    )
    return Section("How much works in which release", (note,), heading, tuple(rows))


def _newest(measured: Sequence[Row], releases: Sequence[RuntimeRelease]) -> Section:
    note = "The rung that fails is in brackets."
    return _matrix("The newest releases", note, measured, releases, _verdict_text)


def _every(measured: Sequence[Row], releases: Sequence[RuntimeRelease]) -> Section:
    installed = [release for release in releases if release[1]]
    return _matrix("Every release", f"{LETTER_LEGEND}, . not measured.", measured, installed, _letter)


def _matrix(
    title: str,
    note: str,
    measured: Sequence[Row],
    releases: Sequence[RuntimeRelease],
    text: Callable[[Row | None], str],
) -> Section:
    cells = {(row["subject"], _release_of(row)): row for row in measured}
    rows = [
        (subject, *(text(cells.get((subject, release))) for release in releases)) for subject in _subjects(measured)
    ]
    return Section(title, (note,), ("subject", *map(_titled, releases)), tuple(rows))


def _reasons(title: str, measured: Sequence[Row], releases: Sequence[RuntimeRelease], *, fewest: int = 1) -> Section:
    """Return a row for each reason not to work that at least ``fewest`` subjects share."""
    alike: dict[tuple[RuntimeRelease, str, str, str], list[Row]] = {}
    for release in releases:
        for row in measured:
            if _release_of(row) == release and row["verdict"] != CellVerdict.WORKS:
                alike.setdefault((release, row["verdict"], row["blame"] or "", row["reason"]), []).append(row)
    rows = [
        (
            _titled(release),
            verdict,
            blame,
            reason,
            f"all {len(shared)}"
            if len(shared) == len(_subjects(measured))
            else ", ".join(row["subject"] for row in shared),
            shared[0]["run"][:12] if shared[0]["run"] else "",
        )
        for (release, verdict, blame, reason), shared in alike.items()
        if len(shared) >= fewest
    ]
    heading = ("release", "verdict", "blame", "reason", "subjects", "run of the first")
    notes = (f"Reasons that {fewest} subjects or more share.",) if fewest > 1 else ()
    return Section(title, notes, heading, tuple(rows))


def _parity(compared: Sequence[Row], releases: Sequence[RuntimeRelease]) -> Section:
    """Return a summary of how far each release's log-probabilities are from the reference's."""
    note = (
        "The largest difference between a log-probability and that of the pinned transformers, in nats, over all"
        " positions of the given texts. docs/definitions.md says how much rounding is allowed."
    )
    rows = []
    for release in releases:
        pairs = [row for row in compared if _release_of(row) == release]
        if not pairs:
            continue
        count = Counter(row["verdict"] for row in pairs)
        farthest = max(pairs, key=lambda row: float(row["max"]))
        rows.append(
            (
                _titled(release),
                str(len(pairs)),
                *(str(count[verdict]) for verdict in (Verdict.PASSED, Verdict.FAILED, Verdict.UNKNOWN)),
                f"{farthest['max']:.2g}, {farthest['subject']}",
            )
        )
    heading = ("release", "compared", "within rounding", "differ", "undecided", "largest")
    return Section("Parity: how far numbers are from the reference", (note,), heading, tuple(rows))


def _differences(compared: Sequence[Row], releases: Sequence[RuntimeRelease]) -> Section:
    """Return every difference beyond rounding, the largest first; releases that share it are in one row."""
    alike: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in sorted(compared, key=lambda row: -float(row["max"])):
        if row["verdict"] != Verdict.PASSED:
            key = (row["subject"], f"{row['max']:.2g}", row["verdict"], row["cause"] or "")
            alike.setdefault(key, []).append(row)
    within = {(row["subject"], _release_of(row)) for row in compared if row["verdict"] == Verdict.PASSED}
    rows = []
    for (subject, maximum, verdict, cause), shared in alike.items():
        shared.sort(key=lambda row: releases.index(_release_of(row)))
        fixed = [_fixed(subject, _release_of(row), within, releases) for row in shared]
        rows.append(
            (
                subject,
                ", ".join(_titled(_release_of(row)) for row in shared),
                maximum,
                *(f"{shared[0][name]:.2g}" for name in ("p99", "allowed")),
                verdict,
                cause,
                ", ".join(dict.fromkeys(filter(None, fixed))),
                shared[0]["run"][:12],
            )
        )
    return Section(
        "Every difference beyond rounding",
        ("A cause is a person's explanation. It changes no verdict: the numbers alone decide.",),
        (
            "subject",
            "releases",
            "maximum",
            "99th percentile",
            "allowed",
            "verdict",
            "cause",
            "within rounding again in",
            "run",
        ),
        tuple(rows),
    )


def _fixed(
    subject: str,
    release: RuntimeRelease,
    within: Collection[tuple[str, RuntimeRelease]],
    releases: Sequence[RuntimeRelease],
) -> str:
    """Return the first later measured release that differs by no more than rounding, "" without any."""
    later = releases[releases.index(release) + 1 :]
    return next((_titled(other) for other in later if other[0] is release[0] and (subject, other) in within), "")


def _release_of(row: Row) -> RuntimeRelease:
    mark = LATER if row["installed"] == InstalledAsOf.RUN_DAY else ""
    return Runtime(row["runtime"]), str(row["version"] or ""), mark


def _subjects(measured: Iterable[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row["subject"] for row in measured))


def _titled(release: RuntimeRelease) -> str:
    runtime, version, mark = release
    return " ".join(filter(None, (runtime, version))) + mark


def _verdict_text(row: Row | None) -> str:
    if row is None:
        return ""
    shown = shown_verdict(row["verdict"], {Rung.MATCHES: row["matches"]})
    return f"{shown} ({row['rung']})" if row["rung"] else shown


def _letter(row: Row | None) -> str:
    return "." if row is None else LETTERS[CellVerdict(row["verdict"])]
