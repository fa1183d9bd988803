"""Names the site's files after ids that may be hostile: none leaves the folder, and no two share a file; pure."""

from __future__ import annotations

import hashlib
import re

from monitor.domain import HubName
from monitor.judge.signature import Signature

MARKER = ".settle-site"  # the file that shows that a folder or a branch holds a site
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_FILE_NAME = re.compile(r"\.(html|json|svg|txt|sh|css|xml)\.?$|\.$", re.IGNORECASE)  # no name for a folder
_TAKEN = frozenset({"status"})  # status.json lies beside the models' files
_KEPT_CHARS = 60


def slug(text: str) -> str:
    """Return a file name for any text: a plain text itself, of others the plain characters, a tilde and a digest.

    No plain text holds a tilde, so that two texts never share a name.
    """
    if _PLAIN.fullmatch(text) and not _FILE_NAME.search(text) and text.lower() not in _TAKEN:
        return text
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:_KEPT_CHARS] or "x"
    return f"{plain}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def path_of(hub_id: str) -> str:
    """Return ``organisation/name`` as a path of plain names."""
    organisation, name = HubName.parse(hub_id)
    return f"{slug(organisation)}/{slug(name)}" if "/" in hub_id else slug(name)


def model_page(model: str) -> str:
    return f"models/{path_of(model)}.html"


def model_json(model: str) -> str:
    return f"{path_of(model)}.json"


def column_name(runtime: str, channel: str, platform: str) -> str:
    return slug(f"{runtime}-{channel}-{platform}")


def cell_page(subject: str, column: str) -> str:
    return f"cells/{path_of(subject)}/{column}.html"


def script_file(subject: str, column: str) -> str:
    return f"cells/{path_of(subject)}/{column}.sh"


def badge_file(subject: str, column: str) -> str:
    return f"badges/{path_of(subject)}/{column}.svg"


def lock_name(environment: str) -> str:
    return f"{slug(environment)}.txt"


def lock_file(environment: str) -> str:
    return f"locks/{lock_name(environment)}"


def failure_page(signature: str) -> str:
    return f"failures/{slug(Signature.parse(signature).digest)}.html"


def runtime_page(column: str) -> str:
    return f"runtimes/{column}.html"


def part_page(kind: str, name: str) -> str:
    """Return the page of one part of the overview, such as one kind or organisation."""
    return f"overview/{kind}-{slug(name)}.html"


def root_of(path: str) -> str:
    """Return the relative path from a page to the site's root."""
    return "../" * path.count("/")


def page_path(path: str, number: int) -> str:
    """Return the path of a further page of one part of the overview; the first is number 0."""
    if not number:
        return path
    base = path.removesuffix(".html").removeprefix("overview/")
    return f"overview/{base}~{number + 1}.html"
