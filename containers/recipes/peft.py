"""How peft is installed and run: with the transformers, the accelerate and the torch that a user gets beside it."""

from __future__ import annotations

from containers.recipes import transformers

RUNTIME = "peft"

IMPORTED = transformers.IMPORTED | {"peft", "accelerate"}
EXEMPT = transformers.EXEMPT
FORKS = transformers.FORKS
HEAVY = False
MEMORY_BYTES: int | None = None
SHM_BYTES = transformers.SHM_BYTES
LIBRARIES: tuple[str, ...] = ()
SOURCES: tuple[str, ...] = ()
ARCHIVE = transformers.ARCHIVE
UNVERIFIED = transformers.UNVERIFIED
ENVIRONMENT = transformers.ENVIRONMENT


def requirements(version: str | None) -> tuple[str, ...]:
    return (f"peft=={version}" if version else "peft", "accelerate", *transformers.requirements(None))
