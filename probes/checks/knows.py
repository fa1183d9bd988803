"""Rung 1: the runtime knows the architecture and reads the configuration as the model means it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.catalogue import check
from probes.checkpoint import BadFileError, read_config
from probes.configuration import difference
from probes.events import Answer, failed, passed, skipped
from probes.faults import without_paths

if TYPE_CHECKING:
    from probes.subject import Subject


@check("knows.architecture", "the architecture is registered", needs="checkpoint")
def architecture(subject: Subject) -> Answer:
    try:
        subject.config_json = read_config(subject.folder)
    except BadFileError as error:
        return failed("bad-checkpoint", str(error))
    model_type = subject.config_json.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        return failed("bad-checkpoint", "config.json names no model_type")
    registered = subject.runtime.registered()
    if not subject.runtime.knows(model_type):
        return _unknown(subject, model_type, registered)
    subject.config = subject.runtime.config(subject.folder)
    return passed(f"{model_type} is registered", model_type=model_type, registered=registered)


def _unknown(subject: Subject, model_type: str, registered: int) -> Answer:
    if subject.config_json.get("auto_map"):
        reason = f"{model_type} is not registered; the model brings its own code, which is not run"
        return failed("needs-remote-code", reason, model_type=model_type, registered=registered)
    try:
        subject.runtime.config(subject.folder)
    except Exception as error:  # noqa: BLE001 -- what is wanted is what the runtime says about it, in its own words
        said = without_paths(str(error)).split("\n\n")[0]
    else:
        said = f"{model_type} is not registered, though a configuration was made of it"
    return failed("unknown-architecture", said, model_type=model_type, registered=registered)


@check(
    "knows.config",
    "the effective configuration equals the model's own config.json",
    needs="configuration",
    after=("knows.architecture", "loads.creates"),
)
def config(subject: Subject) -> Answer:
    found = difference(subject.config_json, subject.runtime.effective(subject.config, subject.config_json))
    if not found.wrong and not found.compared:
        return skipped("no key of the model's config.json could be compared with the runtime's", unread=found.unread)
    if not found.wrong:
        return passed(f"{found.compared} values agree", compared=found.compared, unread=found.unread)
    named = ", ".join(f"{key} is {pair[1]!r} instead of {pair[0]!r}" for key, pair in list(found.wrong.items())[:3])
    more = f" and {len(found.wrong) - 3} more" if len(found.wrong) > 3 else ""  # noqa: PLR2004 -- as many as are named
    return failed("wrong-config", named + more, wrong=found.wrong, compared=found.compared, unread=found.unread)
