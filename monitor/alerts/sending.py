"""Sends one message to one address over apprise, and tells what is known of its arrival."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
from apprise.result import AppriseResultStatus

from monitor.domain import Severity
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from apprise.plugins.base import NotifyBase
    from apprise.result import AppriseResult

    from monitor.alerts.message import Message

SECONDS = 60  # for one message; whoever needs longer may have got it
_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# of HTTP and of SMTP; "was refused: 550" is not among them, for then another addressee has got it
_ANSWERED = re.compile(r"error=(\d{3})\b|\((4\d\d|5\d\d), b?['\"]")
_GATEWAY = frozenset({"408", "502", "504"})  # said by somebody who does not know what the one behind has done
_NEVER_REACHED = re.compile(
    r"Connection refused|NameResolutionError|Name or service not known|No address associated|Temporary failure in name"
    r"|No route to host|Network is unreachable|ConnectTimeoutError|CERTIFICATE_VERIFY_FAILED|SMTPAuthenticationError"
)
PROBLEM_CHARS = 400
_SOCKET = "Socket Exception: "
_SECRET_CHARS = 4  # shorter parts of an address are words like "to"
_TYPES = {
    Severity.INFO: NotifyType.INFO,
    Severity.WARNING: NotifyType.WARNING,
    Severity.FAILURE: NotifyType.FAILURE,
}


class Arrival(StrEnum):
    ARRIVED = "arrived"
    REFUSED = "refused"  # it is known not to have arrived
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Sent:
    arrival: Arrival
    problem: str = ""  # without anything of the address that may be a secret


def send(url: str, message: Message, severity: Severity, env: Mapping[str, str]) -> Sent:
    """Send the message once; ``${NAME}`` in the address is of ``env``. Never raises for what is at the other end."""
    try:
        address = expanded(url, env)
        server = _server(address)
    except ConfigError as error:
        return Sent(Arrival.REFUSED, str(error))
    sender = Apprise()
    sender.add(server)
    wants_html = _prefers_html(server)
    with _only_for_us():
        result = sender.notify(
            body=message.html if wants_html else message.text,
            title=message.title,
            notify_type=_TYPES[severity],
            body_format=NotifyFormat.HTML if wants_html else NotifyFormat.TEXT,
            timeout=SECONDS,
            log_level=logging.DEBUG,
        )
    return _told(result, server, address)


def check(url: str, env: Mapping[str, str]) -> None:
    """Raise ConfigError where nothing could ever be sent to the address."""
    _server(expanded(url, env))


def expanded(url: str, env: Mapping[str, str]) -> str:
    """Fill in what the environment keeps secret; inside an address it is quoted, as a whole address it is one."""
    missing = sorted({name for name in _NAME.findall(url) if not env.get(name)})
    if missing:
        raise ConfigError(
            f"the address needs {', '.join(missing)} from the environment, which is not set",
            hint="set it where the daemon is started",
        )
    if whole := _NAME.fullmatch(url.strip()):
        return env[whole[1]]
    return _NAME.sub(lambda found: quote(env[found[1]], safe=""), url)


def redacted(text: str, address: str) -> str:
    """Return ``text`` without any part of the address that may be a secret: user, password, path, query."""
    parts = urlsplit(address)
    pieces = re.split(r"[/?&=:,;@#]+", address.partition("://")[2])
    secrets = {form for one in pieces for form in (one, unquote(one)) if len(form) >= _SECRET_CHARS}
    for one in sorted(secrets - {parts.hostname or ""}, key=len, reverse=True):
        text = text.replace(one, "***")
    return text


def _server(address: str) -> NotifyBase:
    # what apprise would keep on disk, or try again by itself, is the outbox's to know
    asset = AppriseAsset(app_id="Settle", app_desc="Settle", app_url="", storage_mode="memory", async_mode=False)
    with _only_for_us():
        server = Apprise.instantiate(address, asset=asset)
    if server is None:
        scheme = address.partition("://")[0][:20] if "://" in address else "it"
        raise ConfigError(
            f"{scheme}:// is no address that apprise can send to, or it lacks a part",
            hint="apprise's pages list how each service is addressed",
        )
    server.service_retry = 0
    server.optional = False
    return server


def _prefers_html(server: NotifyBase) -> bool:
    """Tell whether the service shows HTML best; one that takes several formats names its own first."""
    wanted = server.notify_format
    first = wanted[0] if isinstance(wanted, tuple) else wanted
    return first is NotifyFormat.HTML


def _told(result: AppriseResult, server: NotifyBase, address: str) -> Sent:
    attempts = [attempt for one in result.results for attempt in one.attempts]
    if attempts and attempts[-1].status is AppriseResultStatus.SUCCESS:
        return Sent(Arrival.ARRIVED)
    said = [entry.message for one in result.results for entry in one.logs() if _telling(entry.level, entry.message)]
    # what the socket said is the reason; the warning beside it only says that there was one
    said = [one.removeprefix(_SOCKET) for one in said if one.startswith(_SOCKET)] or said
    text = " ".join("; ".join(said).split())
    problem = redacted(text, address)[:PROBLEM_CHARS] or f"not sent ({result.status.name.lower()})"
    # of several addressees some may have got it
    certain = len(server) <= 1 and _is_refusal(text)
    return Sent(Arrival.REFUSED if certain else Arrival.UNCERTAIN, problem)


def _is_refusal(text: str) -> bool:
    """Tell whether the words of a failure prove that nothing arrived; what is not understood proves nothing."""
    codes = [code for found in _ANSWERED.findall(text) for code in found if code]
    return bool(_NEVER_REACHED.search(text)) or (bool(codes) and not _GATEWAY.intersection(codes))


@contextmanager
def _only_for_us() -> Iterator[None]:
    """Let apprise tell its result what happened on the wire, and nobody else: an address may be in it."""
    log = logging.getLogger("apprise")
    before, log.propagate, quiet = (log.level, log.propagate), False, logging.NullHandler()
    log.setLevel(logging.DEBUG)
    log.addHandler(quiet)
    try:
        yield
    finally:
        log.removeHandler(quiet)
        level, log.propagate = before
        log.setLevel(level)


def _telling(level: str, message: str) -> bool:
    return level in {"WARNING", "ERROR", "CRITICAL"} or message.startswith(_SOCKET)
