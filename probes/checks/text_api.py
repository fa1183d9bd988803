"""Rungs 3, 4 and 6 of a runtime that takes and returns text instead of token ids."""

from __future__ import annotations

import functools
import json
import math
from typing import TYPE_CHECKING, cast

from probes.catalogue import check
from probes.checkpoint import chat_template_of
from probes.events import Answer, failed, passed, skipped
from probes.faults import without_paths
from probes.runtimes import UnavailableError
from probes.subject import Subject

if TYPE_CHECKING:
    from probes.runtimes.ollama import ServedModel

_check = functools.partial(check, needs="text", after=("loads.runs",))
_PROMPTS = ("The quick brown fox", "def f(x):", "0 1 2 3")
_STEPS = 16
_TOP = 5
_FLAT = 1e-3
_LOGPROBS_SINCE = (0, 12, 11)
_FORMAT_STEPS = 256
_SCHEMA = {
    "type": "object",
    "properties": {"likely": {"type": "boolean"}, "colour": {"type": "string", "enum": ["red", "green"]}},
    "required": ["likely", "colour"],
}
_USER = [{"role": "user", "content": "What is the weather in Paris?"}]
_TOOL_NAME = "weather_of_a_town"
_TOOL = {
    "type": "function",
    "function": {
        "name": _TOOL_NAME,
        "description": "Say what the weather is like.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string", "description": "Name of the town"}},
            "required": ["town"],
        },
    },
}


def _model(subject: Subject) -> ServedModel:
    return cast("ServedModel", subject.model)


@_check("generates.text")
def text(subject: Subject) -> Answer:
    """Prompts are answered with text of as many tokens as requested."""
    answers = [_model(subject).generate(prompt, _STEPS) for prompt in _PROMPTS]
    for prompt, answer in zip(_PROMPTS, answers):
        count, reason = answer.get("eval_count"), answer.get("done_reason")
        if answer.get("done") is not True:
            return failed("does-not-stop", f"the answer to {prompt!r} is never marked as done", answer=answer)
        if reason == "length" and count != _STEPS:
            message = f"{count} tokens came instead of {_STEPS}"
            return failed("parameter-ignored", message, parameter="num_predict", answer=answer)
        if not isinstance(count, int) or count > _STEPS:
            message = f"{count} tokens came, and at most {_STEPS} were requested"
            return failed("parameter-ignored", message, parameter="num_predict", answer=answer)
    texts = [str(answer.get("response", "")) for answer in answers]
    if not any(texts):
        return failed("unclassified", "tokens were counted, and every text is empty", answers=answers)
    return passed(f"{sum(map(bool, texts))} of {len(texts)} prompts are answered with text", texts=texts)


@_check("generates.repeats")
def repeats(subject: Subject) -> Answer:
    """The same prompt gets the same answer, whatever is asked in between."""
    first = [_model(subject).generate(prompt, _STEPS).get("response") for prompt in _PROMPTS]
    repeated = [_model(subject).generate(prompt, _STEPS).get("response") for prompt in reversed(_PROMPTS)][::-1]
    for prompt, entry, other in zip(_PROMPTS, first, repeated):
        if entry != other:
            return failed("not-deterministic", f"two answers to {prompt!r} differ", first=entry, second=other)
    return passed(f"{len(_PROMPTS)} prompts get the same answer twice")


@_check("generates.logprobs")
def logprobs(subject: Subject) -> Answer:
    """Log-probabilities come with the text, are finite and not flat."""
    answers = [
        _model(subject).generate(prompt, 4, logprobs=True, top_logprobs=_TOP).get("logprobs") or []
        for prompt in _PROMPTS[:2]
    ]
    if not all(answers):
        version = _model(subject).version
        # a candidate counts as what it is a candidate for
        numbers = tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdigit())
        if numbers < _LOGPROBS_SINCE:
            return skipped(f"{version} has no log-probabilities; they came with 0.12.11")
        return failed("missing-logprobs", "log-probabilities were requested, and none came")
    rows = [[float(top["logprob"]) for top in step.get("top_logprobs", [])] for steps in answers for step in steps]
    if not all(math.isfinite(value) for row in rows for value in row):
        return failed("not-finite", "the log-probabilities hold NaN or infinity")
    sums = [sum(map(math.exp, row)) for row in rows]
    if any(len(row) != _TOP for row in rows) or not all(0 < entry < 1 + _FLAT for entry in sums):
        return failed("missing-logprobs", f"no probabilities of the {_TOP} likeliest tokens", sums=sums)
    if all(row[0] - row[-1] < _FLAT for row in rows) and rows[0] == rows[len(answers[0])]:
        return failed("flat-logits", "every token is as likely as the next, whatever the prompt")
    subject.facts["logprobs"] = {"prompts": [{"text": text, "top": top} for text, top in zip(_PROMPTS, answers)]}
    return passed(f"the {_TOP} likeliest tokens of {len(rows)} positions", sums=sums)


@_check("generates.stops")
def stops(subject: Subject) -> Answer:
    """Generation ends before a requested stop text."""
    for prompt in _PROMPTS:
        whole = str(_model(subject).generate(prompt, _STEPS).get("response", ""))
        if len(whole) > 2:  # noqa: PLR2004 -- something must come before the end
            break
    else:
        return skipped("no prompt is answered with enough text to stop in it")
    end = whole[len(whole) // 2 :][:3]
    cut = _model(subject).generate(prompt, _STEPS, options={"stop": [end]})
    wanted = whole[: whole.index(end)]
    if cut.get("response") != wanted:
        message = f"with the stop text {end!r}, the answer is {cut.get('response')!r} instead of {wanted!r}"
        return failed("parameter-ignored", message, parameter="stop", whole=whole)
    return passed(f"ends before {end!r}", whole=whole)


@_check("speaks.chats")
def chats(subject: Subject) -> Answer:
    """A chat is answered by the assistant."""
    answer = _model(subject).chat(_USER, _STEPS)
    message = answer.get("message")
    if not isinstance(message, dict) or message.get("role") != "assistant" or answer.get("done") is not True:
        return failed("unclassified", "the chat has no message of the assistant", answer=answer)
    return passed("a chat is answered", answer=answer)


@_check("speaks.streams", after=("speaks.chats",))
def streams(subject: Subject) -> Answer:
    """The streamed chat equals the chat returned at once."""
    whole = _model(subject).chat(_USER, _STEPS)
    lines = _model(subject).chat_streamed(_USER, _STEPS)
    if not lines or lines[-1].get("done") is not True:
        return failed("stream-differs", "the stream is never marked as done", lines=lines[-3:])
    for part in ("content", "thinking"):
        entry = str(whole.get("message", {}).get(part) or "")
        pieces = "".join(str(line.get("message", {}).get(part) or "") for line in lines)
        if entry != pieces:
            message = f"{part} is {pieces!r} streamed and {entry!r} in one piece"
            return failed("stream-differs", message, streamed=pieces, whole=entry)
    for key in ("done_reason", "eval_count"):
        if whole.get(key) != lines[-1].get(key):
            message = f"{key} is {lines[-1].get(key)!r} streamed and {whole.get(key)!r} in one piece"
            return failed("stream-differs", message)
    return passed(f"{len(lines)} lines make the same answer")


@_check("speaks.tools")
def tools(subject: Subject) -> Answer:
    """A tool of the request appears in the prompt, where the model's template has a place for it."""
    if "tools" not in chat_template_of(subject.folder):
        return skipped("the model's chat template has no place for tools")
    try:
        _model(subject).chat(_USER, 1, tools=[_TOOL])
        plain, with_tool = (_model(subject).rendered(_USER, **more) for more in ({}, {"tools": [_TOOL]}))
    except UnavailableError:
        return skipped("the tool is accepted; this release does not show the prompt")
    except Exception as error:  # noqa: BLE001 -- raised again unless it is the refusal of this capability
        return _refused(error, "does not support tools", "tools-unsupported")
    if _TOOL_NAME not in with_tool:
        return failed("tools-unsupported", "the tool is accepted and missing in the prompt", rendered=with_tool)
    return passed("the tool appears in the prompt", characters=len(with_tool) - len(plain))


@_check("speaks.thinking")
def thinking(subject: Subject) -> Answer:
    """The chat template's switch for thinking works, where the model's template has one."""
    if "enable_thinking" not in chat_template_of(subject.folder):
        return skipped("the model's chat template has no switch for thinking")
    try:
        _model(subject).chat(_USER, 1, think=True)
        on, off = (_model(subject).rendered(_USER, think=think) for think in (True, False))
    except UnavailableError:
        return skipped("thinking is accepted; this release does not show the prompt")
    except Exception as error:  # noqa: BLE001 -- raised again unless it is the refusal of this capability
        return _refused(error, "does not support thinking", "thinking-unsupported")
    if on == off:
        return failed("thinking-unsupported", "the prompt is the same with and without thinking", rendered=on)
    return passed("the prompt differs with and without thinking")


def _refused(error: Exception, words: str, fault: str) -> Answer:
    """Return the answer for a refused capability, which the model's files have, so that users miss it."""
    if words not in str(error):
        raise error
    return failed(fault, f"the model's template has it, and Ollama answers: {without_paths(str(error))}")


@_check("serves.format", after=("speaks.chats",), fault="server-error")
def formats(subject: Subject) -> Answer:
    """An answer follows the requested JSON schema."""
    answer = _model(subject).chat(_USER, _FORMAT_STEPS, format=_SCHEMA)
    content = str(answer.get("message", {}).get("content", ""))
    try:
        made = json.loads(content)
    except ValueError:
        if answer.get("done_reason") == "length":
            return skipped(f"the answer is not complete after {_FORMAT_STEPS} tokens")
        return failed("parameter-ignored", f"not JSON: {content[:200]!r}", parameter="format")
    fits = isinstance(made, dict) and type(made.get("likely")) is bool and made.get("colour") in {"red", "green"}
    if not fits:
        return failed("parameter-ignored", f"does not follow the schema: {content[:200]!r}", parameter="format")
    return passed("the answer follows the schema", made=made)


@_check("serves.embeds", fault="server-error")
def embeds(subject: Subject) -> Answer:
    """Texts become vectors, and equal texts equal vectors."""
    try:
        vectors = _model(subject).embed([_PROMPTS[0], _PROMPTS[1], _PROMPTS[0]])
    except Exception as error:
        if "does not support" not in str(error):
            raise
        return skipped(f"not for this model: {without_paths(str(error))}")
    entry, other, repeated = vectors if len(vectors) == 3 else ([], [], [])  # noqa: PLR2004 -- as many as were asked
    if not entry or not all(math.isfinite(value) for row in vectors for value in row):
        return failed("not-finite", f"{len(vectors)} vectors came for 3 texts, or they hold NaN or infinity")
    if max(abs(a - b) for a, b in zip(entry, repeated)) > _FLAT:
        return failed("not-deterministic", "equal texts have different vectors")
    if max(abs(a - b) for a, b in zip(entry, other)) < _FLAT:
        return failed("flat-logits", "different texts have the same vector")
    return passed(f"vectors of {len(entry)} numbers")
