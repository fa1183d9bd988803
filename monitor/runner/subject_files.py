"""Gets a subject's files ready for the bench: a miniature is written where it is not there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.domain import REFERENCE, Origin, SubjectForm
from monitor.errors import InfraError
from monitor.miniatures.golden import golden, golden_of_folder
from monitor.miniatures.writer import write_miniature
from monitor.runner.session import PreparedSubject
from monitor.subjects.weights import checkpoint_folder

if TYPE_CHECKING:
    from monitor.domain import Subject
    from monitor.runner.context import RunContext
    from monitor.runner.request import ProbeRequest


def prepare_subject(context: RunContext, subject: Subject, request: ProbeRequest) -> PreparedSubject:
    """Return the subject with its files in place, what they themselves say a probe must find, and the reference.

    Raises BenchError where full weights were given up or lost.
    """
    reference = request.runtime is REFERENCE
    told: dict[str, Any] = {
        "trace": context.store.cells.golden(subject.digest, with_trace=not reference),
        "pins": reference and request.origin is Origin.LIVE,
    }
    if subject.form is SubjectForm.FOLDER:
        folder = Path(subject.id.removeprefix("folder:"))
        return PreparedSubject(subject, folder, golden_of_folder(folder) | told)
    if subject.form is SubjectForm.FULL:
        folder = checkpoint_folder(context.config.home, subject.digest)
        if not folder.is_dir():
            raise InfraError(
                f"the weights of {subject.model_id} are not here",
                hint="name it in hub.full, and the daemon fetches them; or probe its miniature",
            )
        return PreparedSubject(subject, folder, golden_of_folder(folder) | told)
    miniature = context.catalogue.miniature_of(subject.id, subject.digest)
    written = write_miniature(miniature, context.config.home / "subjects")
    return PreparedSubject(subject, written.path, golden(miniature) | told)
