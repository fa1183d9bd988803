"""What keeps this room from working at all: a sentence and a hint, which the daemon turns into its own errors."""


class ContainersError(Exception):
    """Ours, never the runtime's; ``hint`` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class EngineUnavailable(ContainersError):
    """The engine that was asked for does not answer."""


class BaseUnavailable(ContainersError):
    """There is no base image, and none can be pulled or built here."""


class NoRoom(ContainersError):
    """The disk does not even hold what an installer needs of ours."""
