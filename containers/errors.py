"""Errors that keep containers from working at all: a sentence and a hint."""


class ContainersError(Exception):
    """A fault of this machine, never of a runtime; ``hint`` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class EngineUnavailable(ContainersError):
    """The requested engine does not answer."""


class BaseUnavailable(ContainersError):
    """There is no base image, and none can be pulled or built here."""


class NoRoom(ContainersError):
    """The disk has no room for the tools of an installer."""
