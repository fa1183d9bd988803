"""Sends one message to one address over apprise, and returns what is known of its arrival."""

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

SECONDS = 60  # for one message; it may still arrive after that
_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# of HTTP and of SMTP; "was refused: 550" is not among them, because another addressee may have the message
_ANSWERED = re.compile(r"error=(\d{3})\b|\((4\d\d|5\d\d), b?['\"]")
_GATEWAY = frozenset({"408", "502", "504"})  # of a gateway, which does not know what the server behind it has done
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
    REFUSED = "refused"  # it has certainly not arrived
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Sent:
    arrival: Arrival
    problem: str = ""  # without secrets of the address


def send(url: str, message: Message, severity: Severity, env: Mapping[str, str]) -> Sent:
    """Send the message once; ``${NAME}`` in the address comes from ``env``. A failure of the receiver never raises."""
    try:
        address = expanded(url, env)
        server = _server(address)
    except ConfigError as error:
        return Sent(Arrival.REFUSED, str(error))
    sender = Apprise()
    sender.add(server)
    wants_html = _prefers_html(server)
    with _private_log():
        result = sender.notify(
            body=message.html if wants_html else message.text,
            title=message.title,
            notify_type=_TYPES[severity],
            body_format=NotifyFormat.HTML if wants_html else NotifyFormat.TEXT,
            timeout=SECONDS,
            log_level=logging.DEBUG,
        )
    return _sent(result, server, address)


def check(url: str, env: Mapping[str, str]) -> None:
    """Raise ConfigError for an address that no message can be sent to."""
    _server(expanded(url, env))


def expanded(url: str, env: Mapping[str, str]) -> str:
    """Fill in secrets from the environment, quoted where they are a part of the address."""
    missing = sorted({name for name in _NAME.findall(url) if not env.get(name)})
    if missing:
        raise ConfigError(
            f"the address needs the environment variable {', '.join(missing)}, which is not set",
            hint="set it in the environment of the daemon",
        )
    if whole := _NAME.fullmatch(url.strip()):
        return env[whole[1]]
    return _NAME.sub(lambda name: quote(env[name[1]], safe=""), url)


def redacted(text: str, address: str) -> str:
    """Return ``text`` without the parts of the address that may be secret: user, password, path, query."""
    parts = urlsplit(address)
    pieces = re.split(r"[/?&=:,;@#]+", address.partition("://")[2])
    secrets = {form for piece in pieces for form in (piece, unquote(piece)) if len(form) >= _SECRET_CHARS}
    for secret in sorted(secrets - {parts.hostname or ""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _server(address: str) -> NotifyBase:
    # apprise keeps nothing on disk and does not retry: the outbox does both
    asset = AppriseAsset(app_id="Settle", app_desc="Settle", app_url="", storage_mode="memory", async_mode=False)
    with _private_log():
        server = Apprise.instantiate(address, asset=asset)
    if server is None:
        scheme = address.partition("://")[0][:20] if "://" in address else "it"
        raise ConfigError(
            f"apprise cannot send to {scheme}://, or the address lacks a part",
            hint="apprise's documentation lists the form of each service's address",
        )
    server.service_retry = 0
    server.optional = False
    return server


def _prefers_html(server: NotifyBase) -> bool:
    """Return whether the service prefers HTML; of several formats the first is preferred."""
    wanted = server.notify_format
    first = wanted[0] if isinstance(wanted, tuple) else wanted
    return first is NotifyFormat.HTML


def _sent(result: AppriseResult, server: NotifyBase, address: str) -> Sent:
    attempts = [attempt for reply in result.results for attempt in reply.attempts]
    if attempts and attempts[-1].status is AppriseResultStatus.SUCCESS:
        return Sent(Arrival.ARRIVED)
    lines = [
        entry.message
        for reply in result.results
        for entry in reply.logs()
        if entry.level in {"WARNING", "ERROR", "CRITICAL"} or entry.message.startswith(_SOCKET)
    ]
    # a message of the socket is the reason; the warning that comes with it has no detail
    lines = [line.removeprefix(_SOCKET) for line in lines if line.startswith(_SOCKET)] or lines
    text = " ".join("; ".join(lines).split())
    problem = redacted(text, address)[:PROBLEM_CHARS] or f"not sent ({result.status.name.lower()})"
    # some of several addressees may have the message
    certain = len(server) <= 1 and _is_refusal(text)
    return Sent(Arrival.REFUSED if certain else Arrival.UNCERTAIN, problem)


def _is_refusal(text: str) -> bool:
    """Return whether the text of a failure proves that nothing arrived; an unknown text proves nothing."""
    codes = [code for groups in _ANSWERED.findall(text) for code in groups if code]
    return bool(_NEVER_REACHED.search(text)) or (bool(codes) and not _GATEWAY.intersection(codes))


@contextmanager
def _private_log() -> Iterator[None]:
    """Let apprise log to its result alone, because an address may be in the log."""
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
