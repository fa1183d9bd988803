"""Tells a watcher elsewhere that a tick went well, so that somebody notices when the daemon itself is dead."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from monitor.errors import InfraError
from monitor.sources.web import fetch

if TYPE_CHECKING:
    from containers.settings import InstallSettings
    from monitor.progress import Progress

_SECONDS = 10.0
_LIMIT_BYTES = 64 << 10


def ping(url: str, settings: InstallSettings, progress: Progress) -> bool:
    """Ask for the address and return whether it answered; "" is nobody. A failure is said, and nothing more.

    Whoever knows such an address can keep a dead daemon alive, so only its host is ever said.
    """
    if not url:
        return False
    try:
        answered = fetch(url, settings, limit_bytes=_LIMIT_BYTES, seconds=_SECONDS) is not None
        why = "" if answered else "it knows no such address (404)"
    except InfraError as error:
        answered, why = False, str(error)
    if not answered:
        progress.message(f"nobody was told that this tick went well: {urlsplit(url).hostname}: {why}")
    return answered
