"""Prepares a subject's files for a session: a miniature is written where it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.domain import REFERENCE, Origin, SubjectForm, folder_named
from monitor.errors import InfraError
from monitor.miniatures.golden import golden, golden_of_folder
from monitor.miniatures.writer import write_miniature
from monitor.runner.session import PreparedSubject
from monitor.subjects.weights import checkpoint_folder

if TYPE_CHECKING:
    from monitor.domain import Subject
    from monitor.runner.request import ProbeRequest
    from monitor.store import Reader
    from monitor.subjects.catalogue import Catalogue


def prepare_subject(
    store: Reader, catalogue: Catalogue, home: Path, subject: Subject, request: ProbeRequest
) -> PreparedSubject:
    """Return the subject with its files in place, the values that its files promise, and the reference's.

    Raises InfraError where full weights were removed.
    """
    reference = request.runtime is REFERENCE
    expected: dict[str, Any] = {
        "trace": store.cells.golden(subject.digest, with_trace=not reference),
        "pins": reference and request.origin is Origin.LIVE,
    }
    if subject.form is SubjectForm.FOLDER:
        folder = Path(folder_named(subject.id))
        return PreparedSubject(subject, folder, golden_of_folder(folder) | expected)
    if subject.form is SubjectForm.FULL:
        folder = checkpoint_folder(home, subject.digest)
        if not folder.is_dir():
            raise InfraError(
                f"the weights of {subject.model_id} are not here",
                hint="name it in hub.full, and the daemon fetches them; or probe its miniature",
            )
        return PreparedSubject(subject, folder, golden_of_folder(folder) | expected)
    miniature = catalogue.miniature_of(subject.id, subject.digest)
    folder = write_miniature(miniature, home / "subjects")
    return PreparedSubject(subject, folder, golden(miniature) | expected)
