"""Rung 1: the runtime knows the architecture and reads the configuration as the model means it."""

from __future__ import annotations

from probes.catalogue import check
from probes.checkpoint import read_config
from probes.configuration import difference
from probes.events import Answer, failed, few, passed, skipped
from probes.faults import without_paths
from probes.subject import Subject


@check("knows.architecture", needs="checkpoint")
def architecture(subject: Subject) -> Answer:
    """The architecture is registered."""
    subject.config_json = read_config(subject.folder)
    model_type = subject.config_json.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        return failed("bad-checkpoint", "config.json has no model_type")
    registered = subject.runtime.registered()
    if not subject.runtime.knows(model_type):
        return _unknown(subject, model_type, registered)
    subject.config = subject.runtime.config(subject.folder)
    return passed(f"{model_type} is registered", model_type=model_type, registered=registered)


def _unknown(subject: Subject, model_type: str, registered: int) -> Answer:
    if subject.config_json.get("auto_map"):
        reason = f"{model_type} is not registered; the model's repository has code for it, which is not run"
        return failed("needs-remote-code", reason, model_type=model_type, registered=registered)
    try:
        subject.runtime.config(subject.folder)
    except Exception as error:  # noqa: BLE001 -- its message is what the user sees
        message = without_paths(str(error)).split("\n\n")[0]
    else:
        message = f"{model_type} is not registered, although the runtime reads its configuration"
    return failed("unknown-architecture", message, model_type=model_type, registered=registered)


@check("knows.config", needs="configuration", after=("knows.architecture", "loads.creates"))
def config(subject: Subject) -> Answer:
    """The effective configuration equals the model's own config.json."""
    outcome = difference(subject.config_json, subject.runtime.effective(subject.config, subject.config_json))
    if not outcome.wrong and not outcome.compared:
        return skipped("the runtime shows no key of the model's config.json", unread=outcome.unread)
    if not outcome.wrong:
        return passed(f"{outcome.compared} values agree", compared=outcome.compared, unread=outcome.unread)
    named = few([f"{key} is {pair[1]!r} instead of {pair[0]!r}" for key, pair in outcome.wrong.items()])
    return failed("wrong-config", named, wrong=outcome.wrong, compared=outcome.compared, unread=outcome.unread)
