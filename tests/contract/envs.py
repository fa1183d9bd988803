"""What the tests of environments ask for, and how one looks into an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from containers.engine import Command, CommandLimits, Role
from containers.environment import Environment
from containers.failures import InstallFailure
from containers.resolving import Resolution

if TYPE_CHECKING:
    from containers.base import Base
    from containers.engine import Engine, Execution
    from containers.environments import Environments
    from containers.lock import Lock


def locked(environments: Environments, *requirements: str) -> Lock:
    resolution = environments.resolve(requirements, None)
    assert isinstance(resolution, Resolution), resolution
    return resolution.lock


def failed(result: object) -> InstallFailure:
    assert isinstance(result, InstallFailure), result
    return result


def built(result: object) -> Environment:
    assert isinstance(result, Environment), result
    return result


def python(engine: Engine, base: Base, environment: Environment, code: str) -> Execution:
    return engine.run(
        Command(
            argv=(f"{environment.path}/bin/python", "-I", "-c", code),
            role=Role.PROBE,
            image=base.image,
            mounts=(environment.mount,),
            limits=CommandLimits(seconds=60, memory_bytes=256 << 20),
        )
    )
