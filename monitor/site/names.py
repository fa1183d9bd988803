"""Names the site's files after ids that may be hostile: none leaves the folder, and no two share a file; pure."""

from __future__ import annotations

import hashlib
import re

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_OURS = re.compile(r"\.(html|json|svg|txt|sh|css|xml)\.?$|\.$", re.IGNORECASE)  # a folder must not be called as a file
_TAKEN = frozenset({"status"})  # by our own files beside the models'
_KEPT_CHARS = 60


def slug(text: str) -> str:
    """Return a file name for any text: itself where it is plain, else what is plain of it with a digest after a tilde.

    No plain text holds a tilde, so that two texts never share a name.
    """
    if PLAIN.fullmatch(text) and not _OURS.search(text) and text.lower() not in _TAKEN:
        return text
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:_KEPT_CHARS] or "x"
    return f"{plain}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def path_of(hub_id: str) -> str:
    """Return ``organisation/name`` as a path of plain names; the last may still take a suffix."""
    organisation, slash, name = hub_id.partition("/")
    return f"{slug(organisation)}/{slug(name)}" if slash else slug(organisation)


def model_page(model: str) -> str:
    return f"models/{path_of(model)}.html"


def model_json(model: str) -> str:
    return f"{path_of(model)}.json"


def history_name(runtime: str, channel: str, platform: str) -> str:
    return slug(f"{runtime}-{channel}-{platform}")


def cell_page(subject: str, history: str) -> str:
    return f"cells/{path_of(subject)}/{history}.html"


def script_file(subject: str, history: str) -> str:
    return f"cells/{path_of(subject)}/{history}.sh"


def badge_file(subject: str, history: str) -> str:
    return f"badges/{path_of(subject)}/{history}.svg"


def lock_file(environment: str) -> str:
    return f"locks/{slug(environment)}.txt"


def failure_page(signature: str) -> str:
    """Return the page of a failure, by the digest that its signature begins with."""
    return f"failures/{slug(signature.partition(' ')[0])}.html"


def runtime_page(history: str) -> str:
    return f"runtimes/{history}.html"


def part_page(kind: str, name: str) -> str:
    """Return the page of the overview's part for one kind, organisation or the like."""
    return f"overview/{kind}-{slug(name)}.html"


def root_of(path: str) -> str:
    """Return the way from a page up to the site's root, "" or ``../`` times its depth."""
    return "../" * path.count("/")
