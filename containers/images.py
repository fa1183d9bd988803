"""The images of an engine: found, pulled, imported from a root file system, tagged."""

from __future__ import annotations

from contextlib import contextmanager
from http.client import HTTPException
from typing import TYPE_CHECKING

import docker
from docker.errors import DockerException, ImageNotFound

from containers.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A registry that answers sends progress all the time; one that does not must not delay the first start.
PULL_SILENCE_SECONDS = 10


class Images:
    """Raises ``EngineUnavailable`` where the engine refuses or has gone away."""

    def __init__(self, client: docker.APIClient, address: str) -> None:
        self._client = client
        self._address = address

    def find(self, reference: str) -> str:
        """Return the image's id, or ``""``."""
        with _answering():
            try:
                return str(self._client.inspect_image(reference)["Id"])  # type: ignore[no-untyped-call]  # the stubs' gap
            except ImageNotFound:
                return ""

    def named(self, repository: str) -> list[str]:
        """Return every reference ``repository:tag`` that the engine has."""
        with _answering():
            tags = [tag for image in self._client.images(name=repository) for tag in image.get("RepoTags") or ()]
        # podman puts a registry before a name that has none
        names = ((tag, tag.removeprefix("localhost/").removeprefix("docker.io/library/")) for tag in tags)
        return [tag for tag, name in names if name.startswith(f"{repository}:")]

    def pull(self, reference: str) -> str:
        """Fetch an image; return ``""``, or why that failed."""
        with _answering():
            impatient = docker.APIClient(
                base_url=self._address, version=self._client.api_version, timeout=PULL_SILENCE_SECONDS
            )
        try:
            for line in impatient.pull(reference, stream=True, decode=True):
                if "error" in line:
                    return str(line["error"])
        except (DockerException, OSError, HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            impatient.close()
        return ""

    def load(self, root: Path, *, repository: str, tag: str) -> None:
        """Make an image from a tar archive of a root file system."""
        with _answering():
            # the tag within the name: podman does not read it anywhere else
            self._client.import_image_from_file(str(root), repository=f"{repository}:{tag}")

    def tag(self, image: str, *, repository: str, tag: str) -> None:
        with _answering():
            self._client.tag(image, repository, tag)

    def untag(self, reference: str) -> None:
        with _answering():
            self._client.remove_image(reference, noprune=True)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (DockerException, OSError, HTTPException) as error:
        raise EngineUnavailable(
            f"the engine does not answer any more: {type(error).__name__}: {error}",
            hint="check that its daemon runs: `settle doctor` shows it",
        ) from error
