"""Questions in text to a runtime that takes and gives no token ids: created, generated, chatted, embedded."""

from __future__ import annotations

import functools
import json
import math
from typing import TYPE_CHECKING, Any, Protocol, cast

from probes.catalogue import check
from probes.checkpoint import chat_template_of
from probes.events import Answer, failed, passed, skipped
from probes.faults import without_paths
from probes.runtimes import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from probes.subject import Subject

    class Creating(Protocol):
        """A runtime that makes a model of its own out of files before anything else."""

        def gguf(self, folder: Path, *, synthetic: bool) -> Path: ...
        def attempt(self) -> Any: ...
        def create_from_own_files(self, folder: Path) -> list[str]: ...

    class Answering(Protocol):
        """A model that answers over HTTP; what it is told is raised as an error with a ``status``."""

        version: str
        shown: dict[str, Any]
        capabilities: list[str]

        def generate(self, prompt: str, steps: int, **more: Any) -> dict[str, Any]: ...
        def chat(self, messages: Sequence[dict[str, Any]], steps: int, **more: Any) -> dict[str, Any]: ...
        def chat_streamed(
            self, messages: Sequence[dict[str, Any]], steps: int, **more: Any
        ) -> list[dict[str, Any]]: ...
        def rendered(self, messages: Sequence[dict[str, Any]], **more: Any) -> str: ...
        def embed(self, texts: Sequence[str]) -> list[list[float]]: ...


_check = functools.partial(check, needs="text", after=("loads.runs",))
_PROMPTS = ("The quick brown fox", "def f(x):", "0 1 2 3")
_STEPS = 16
_TOP = 5
_FLAT = 1e-3
_SURE = frozenset({"unknown-architecture", "needs-newer"})
_LOGPROBS_SINCE = (0, 12, 11)
_FORMAT_STEPS = 256
_SCHEMA = {
    "type": "object",
    "properties": {"likely": {"type": "boolean"}, "colour": {"type": "string", "enum": ["red", "green"]}},
    "required": ["likely", "colour"],
}
_USER = [{"role": "user", "content": "What is the weather in Paris?"}]
_TOOL = {
    "type": "function",
    "function": {
        "name": "weather_of_a_town",
        "description": "Say what the weather is like.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string", "description": "Name of the town"}},
            "required": ["town"],
        },
    },
}


def _creating(subject: Subject) -> Creating:
    return cast("Creating", subject.runtime)


def _asked(subject: Subject) -> Answering:
    return cast("Answering", subject.model)


@_check("generates.text", "prompts are answered with text, in as many tokens as were asked for")
def text(subject: Subject) -> Answer:
    answers = [_asked(subject).generate(prompt, _STEPS) for prompt in _PROMPTS]
    for prompt, answer in zip(_PROMPTS, answers):
        count, reason = answer.get("eval_count"), answer.get("done_reason")
        if answer.get("done") is not True:
            return failed("does-not-stop", f"the answer to {prompt!r} never says that it is done", answer=answer)
        if reason == "length" and count != _STEPS:
            told = f"{count} tokens came of {_STEPS} that were asked for"
            return failed("parameter-ignored", told, parameter="num_predict", answer=answer)
        if not isinstance(count, int) or count > _STEPS:
            told = f"{count} tokens came though {_STEPS} were the most that was asked for"
            return failed("parameter-ignored", told, parameter="num_predict", answer=answer)
    texts = [str(answer.get("response", "")) for answer in answers]
    if not any(texts):
        return failed("unclassified", "tokens were counted, and no text came of any of them", answers=answers)
    return passed(f"{sum(map(bool, texts))} of {len(texts)} prompts are answered with text", texts=texts)


@_check("generates.repeats", "the same prompt has the same answer, whatever was asked in between")
def repeats(subject: Subject) -> Answer:
    """Ask the same again after something else: greedily, out of the prompt cache and with another in between."""
    first = [_asked(subject).generate(prompt, _STEPS).get("response") for prompt in _PROMPTS]
    again = [_asked(subject).generate(prompt, _STEPS).get("response") for prompt in reversed(_PROMPTS)][::-1]
    for prompt, one, other in zip(_PROMPTS, first, again):
        if one != other:
            return failed("not-deterministic", f"two answers to {prompt!r} differ", first=one, second=other)
    return passed(f"{len(_PROMPTS)} prompts are answered alike twice")


@_check("generates.logprobs", "log-probabilities come with the text, are finite and not flat")
def logprobs(subject: Subject) -> Answer:
    told = [
        _asked(subject).generate(prompt, 4, logprobs=True, top_logprobs=_TOP).get("logprobs") or []
        for prompt in _PROMPTS[:2]
    ]
    if not all(told):
        version = _asked(subject).version
        if _numbers(version) < _LOGPROBS_SINCE:
            return skipped(f"{version} tells no log-probabilities; they came with 0.12.11")
        return failed("missing-logprobs", "log-probabilities were asked for, and none came")
    rows = [[float(one["logprob"]) for one in entry.get("top_logprobs", [])] for steps in told for entry in steps]
    if not all(math.isfinite(value) for row in rows for value in row):
        return failed("not-finite", "the log-probabilities hold NaN or infinity")
    sums = [sum(map(math.exp, row)) for row in rows]
    if any(len(row) != _TOP for row in rows) or not all(0 < one < 1 + _FLAT for one in sums):
        return failed("missing-logprobs", f"no probabilities of the {_TOP} likeliest tokens", sums=sums)
    if all(row[0] - row[-1] < _FLAT for row in rows) and rows[0] == rows[len(told[0])]:
        return failed("flat-logits", "every token is as likely as the next, whatever the prompt")
    subject.facts["logprobs"] = {"prompts": [{"text": text, "top": top} for text, top in zip(_PROMPTS, told)]}
    return passed(f"the {_TOP} likeliest tokens of {len(rows)} positions", sums=sums)


@_check("generates.stops", "generation ends before a text that it is told to stop at")
def stops(subject: Subject) -> Answer:
    """End generation at a piece of the text that it is known to make."""
    for prompt in _PROMPTS:
        whole = str(_asked(subject).generate(prompt, _STEPS).get("response", ""))
        if len(whole) > 2:  # noqa: PLR2004 -- something must come before the end
            break
    else:
        return skipped("no prompt is answered with text enough to end it somewhere")
    end = whole[len(whole) // 2 :][:3]
    cut = _asked(subject).generate(prompt, _STEPS, options={"stop": [end]})
    wanted = whole[: whole.index(end)]
    if cut.get("response") != wanted:
        told = f"asked to stop at {end!r}, it answers {cut.get('response')!r} and not {wanted!r}"
        return failed("parameter-ignored", told, parameter="stop", whole=whole)
    return passed(f"ends before {end!r}", whole=whole)


@_check("speaks.chats", "a chat is answered by the assistant")
def chats(subject: Subject) -> Answer:
    answer = _asked(subject).chat(_USER, _STEPS)
    message = answer.get("message")
    if not isinstance(message, dict) or message.get("role") != "assistant" or answer.get("done") is not True:
        return failed("unclassified", "a chat is answered without a message of the assistant", answer=answer)
    return passed("a chat is answered", answer=answer)


@_check("speaks.streams", "what is streamed is what comes in one piece", after=("speaks.chats",))
def streams(subject: Subject) -> Answer:
    """Compare what is streamed, put together, with what comes in one piece."""
    whole = _asked(subject).chat(_USER, _STEPS)
    lines = _asked(subject).chat_streamed(_USER, _STEPS)
    if not lines or lines[-1].get("done") is not True:
        return failed("stream-differs", "the stream never says that it is done", lines=lines[-3:])
    for part in ("content", "thinking"):
        one = str(whole.get("message", {}).get(part) or "")
        pieces = "".join(str(line.get("message", {}).get(part) or "") for line in lines)
        if one != pieces:
            told = f"{part} is {pieces!r} streamed and {one!r} in one piece"
            return failed("stream-differs", told, streamed=pieces, whole=one)
    for key in ("done_reason", "eval_count"):
        if whole.get(key) != lines[-1].get(key):
            told = f"{key} is {lines[-1].get(key)!r} streamed and {whole.get(key)!r} in one piece"
            return failed("stream-differs", told)
    return passed(f"{len(lines)} lines make the same answer")


@_check("speaks.tools", "a tool that is offered comes into the prompt, where the model's own template has a place")
def tools(subject: Subject) -> Answer:
    """Offer a tool to a model whose own template has a place for one, and look for it in the prompt."""
    if "tools" not in chat_template_of(subject.folder):
        return skipped("the model's own chat template knows no tools")
    try:
        _asked(subject).chat(_USER, 1, tools=[_TOOL])
        plain, offered = (_asked(subject).rendered(_USER, **more) for more in ({}, {"tools": [_TOOL]}))
    except UnavailableError:
        return skipped("a tool is accepted; what becomes of it cannot be seen in this release")
    except Exception as error:  # noqa: BLE001 -- raised again unless it is the refusal of this capability
        return _refused(error, "does not support tools", "tools-unsupported")
    if _TOOL["function"]["name"] not in offered:  # type: ignore[index]
        return failed("tools-unsupported", "a tool is accepted and does not come into the prompt", rendered=offered)
    return passed("a tool that is offered stands in the prompt", characters=len(offered) - len(plain))


@_check("speaks.thinking", "thinking can be asked for and left out, where the model's own template has a switch")
def thinking(subject: Subject) -> Answer:
    """Ask a model whose own template can switch its thinking on and off for both."""
    if "enable_thinking" not in chat_template_of(subject.folder):
        return skipped("the model's own chat template switches no thinking")
    try:
        _asked(subject).chat(_USER, 1, think=True)
        on, off = (_asked(subject).rendered(_USER, think=think) for think in (True, False))
    except UnavailableError:
        return skipped("thinking is accepted; what becomes of it cannot be seen in this release")
    except Exception as error:  # noqa: BLE001 -- raised again unless it is the refusal of this capability
        return _refused(error, "does not support thinking", "thinking-unsupported")
    if on == off:
        return failed("thinking-unsupported", "the prompt is the same with and without thinking", rendered=on)
    return passed("the prompt tells thinking from not thinking")


def _refused(error: Exception, words: str, fault: str) -> Answer:
    """Answer for a refusal of a capability: the model's own files have it, so it is what users miss."""
    if words not in str(error):
        raise error
    return failed(fault, f"the model's own template has it, and Ollama says: {without_paths(str(error))}")


@_check(
    "serves.format", "an answer is of the JSON schema that was asked for", after=("speaks.chats",), fault="server-error"
)
def formats(subject: Subject) -> Answer:
    answer = _asked(subject).chat(_USER, _FORMAT_STEPS, format=_SCHEMA)
    content = str(answer.get("message", {}).get("content", ""))
    try:
        made = json.loads(content)
    except ValueError:
        if answer.get("done_reason") == "length":
            return skipped(f"no end after {_FORMAT_STEPS} tokens, so nothing to hold against the schema")
        return failed("parameter-ignored", f"no JSON: {content[:200]!r}", parameter="format")
    fits = isinstance(made, dict) and type(made.get("likely")) is bool and made.get("colour") in {"red", "green"}
    if not fits:
        return failed("parameter-ignored", f"not of the schema: {content[:200]!r}", parameter="format")
    return passed("the answer is of the schema", made=made)


@_check("serves.embeds", "texts become vectors, the same ones for the same text", fault="server-error")
def embeds(subject: Subject) -> Answer:
    try:
        found = _asked(subject).embed([_PROMPTS[0], _PROMPTS[1], _PROMPTS[0]])
    except Exception as error:
        if "does not support" not in str(error):
            raise
        return skipped(f"not for this model: {without_paths(str(error))}")
    one, other, again = found if len(found) == 3 else ([], [], [])  # noqa: PLR2004 -- as many as were asked
    if not one or not all(math.isfinite(value) for row in found for value in row):
        return failed("not-finite", f"{len(found)} vectors came of 3 texts, or not all are of numbers")
    if max(abs(a - b) for a, b in zip(one, again)) > _FLAT:
        return failed("not-deterministic", "one text has two vectors")
    if max(abs(a - b) for a, b in zip(one, other)) < _FLAT:
        return failed("flat-logits", "two texts have one vector")
    return passed(f"vectors of {len(one)} numbers")


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a release; a candidate counts as what it is a candidate for."""
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdigit())
