"""Rung 6: the OpenAI-compatible server gets ready, answers, streams what it answers, and obeys its parameters."""

from __future__ import annotations

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from probes.catalogue import check
from probes.checkpoint import optional_json, token_ids
from probes.events import Answer, failed, passed, skipped
from probes.served import ServerError

if TYPE_CHECKING:
    from probes.subject import Subject

_check = functools.partial(check, needs="server", after=("serves.ready",), fault="server-error")
_PROMPTS = ("The quick brown fox", "def f(x):", "What is 2 + 2?", "one, two, three")
_STEPS = 12
_FORCED = 100.0  # the largest bias that the interface knows
_FEW = 8  # tokens that a penalty has to choose among, and half as many as the steps it is given
_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}, "sure": {"type": "boolean"}},
    "required": ["answer", "sure"],
    "additionalProperties": False,
}
_SCHEMA_STEPS = 256


@_check(
    "serves.ready",
    "the OpenAI-compatible server becomes ready and lists the model",
    after=("loads.model", "loads.runs"),
)
def ready(subject: Subject) -> Answer:
    subject.server, seconds = subject.runtime.serve(subject)
    listed = subject.server.get("/v1/models").get("data") or []
    names = [one.get("id") for one in listed]
    if subject.server.model not in names:
        return failed("server-error", f"the server lists {names!r} and not {subject.server.model!r}")
    return passed(f"ready in {seconds:.1f} s", ready_s=seconds)


@_check("serves.completes", "a completion and a chat come with text, a reason to end and a count of tokens")
def completes(subject: Subject) -> Answer:
    """Ask for a completion and for a chat; both have to say why they ended and how many tokens they cost."""
    plain = _complete(subject, _PROMPTS[0])
    chat = _chat(subject)
    for kind, told in (("completion", plain), ("chat", chat)):
        choice, usage = _choice(told), told.get("usage") or {}
        if not isinstance(_text(choice), str) or choice.get("finish_reason") not in {"length", "stop"}:
            return failed("server-error", f"a {kind} came without text or reason to end: {choice!r}")
        if not (usage.get("prompt_tokens") and usage.get("completion_tokens")):
            return failed("server-error", f"a {kind} came without its count of tokens: {usage!r}")
    return passed("a completion and a chat", completion=plain.get("usage"), chat=chat.get("usage"))


@_check("serves.streams", "what is streamed equals what is returned at once")
def streams(subject: Subject) -> Answer:
    """Compare what is streamed with what is returned at once, as text and in the reason to end."""
    for path, asked in (("/v1/completions", _asked(subject, _PROMPTS[1])), ("/v1/chat/completions", _talk(subject))):
        whole = _choice(subject.server.post(path, asked))
        pieces, reason = [], None
        for event in subject.server.stream(path, asked):
            for choice in event.get("choices") or ():
                pieces.append(_text(choice) or "")
                reason = choice.get("finish_reason") or reason
        streamed, returned = "".join(pieces), _text(whole) or ""
        if streamed != returned:
            told = f"{path} streams {streamed[:80]!r} and returns {returned[:80]!r}"
            return failed("stream-differs", told, streamed=streamed, returned=returned)
        if reason != whole.get("finish_reason"):
            told = f"{path} ends with {reason!r} when streamed and with {whole.get('finish_reason')!r} when not"
            return failed("stream-differs", told)
    return passed("streamed equals returned, in completions and in chats")


@_check("serves.limits", "max_tokens is how many tokens come", needs="token-bias")
def limits(subject: Subject) -> Answer:
    """Ask for few tokens and for more: exactly as many come, and the few are the beginning of the more."""
    texts = {}
    for steps in (3, 9):
        told = _complete(subject, _PROMPTS[0], max_tokens=steps, **_without_end(subject))
        count, reason = (told.get("usage") or {}).get("completion_tokens"), _choice(told).get("finish_reason")
        if count != steps or reason != "length":
            return failed("parameter-ignored", f"{count} tokens came of {steps} asked for, ended by {reason!r}")
        texts[steps] = _text(_choice(told))
    # the last token's bytes may be held back until a character is whole
    if not texts[9].startswith(texts[3].rstrip("\ufffd")):
        return failed("not-deterministic", f"3 tokens say {texts[3]!r} and 9 say {texts[9]!r}")
    return passed("as many tokens as were asked for")


@_check("serves.stop", "an answer ends before a stop text")
def stop(subject: Subject) -> Answer:
    """Name a piece of the answer as its end: the same answer comes, and ends before it."""
    whole = _text(_choice(_complete(subject, _PROMPTS[0])))
    places = [place for place, sign in enumerate(whole) if place and sign.isalnum() and sign not in whole[:place]]
    if not places:
        return skipped(f"the answer {whole!r} holds no sign to end at")
    sign = whole[places[len(places) // 2]]
    told = _choice(_complete(subject, _PROMPTS[0], stop=[sign]))
    wanted = whole[: whole.index(sign)]
    if _text(told) != wanted or told.get("finish_reason") != "stop":
        text = f"asked to end at {sign!r}, {_text(told)!r} came of {whole!r}, ended by {told.get('finish_reason')!r}"
        return failed("parameter-ignored", text, parameter="stop")
    return passed(f"ends at {sign!r}")


@_check("serves.seed", "equal seeds draw alike, others do not")
def seed(subject: Subject) -> Answer:
    """Draw at random: equal seeds draw alike, and others do not."""
    ways = {"temperature": 1.0, "top_p": 1.0}
    first, again = (_text(_choice(_complete(subject, _PROMPTS[2], seed=7, **ways))) for _ in range(2))
    if first != again:
        return failed("parameter-ignored", f"seed 7 gives {first!r} and then {again!r}", parameter="seed")
    others = [_text(_choice(_complete(subject, _PROMPTS[2], seed=seed, **ways))) for seed in (8, 9, 10)]
    if any(other != first for other in others):
        return passed("equal seeds draw alike, others do not")
    freely = [_text(_choice(_complete(subject, _PROMPTS[2], **ways))) for _ in others]
    if any(other == first for other in freely):
        return skipped(f"the model leaves little to chance: {first!r}, with a seed and without")
    return failed("parameter-ignored", f"four seeds all give {first!r}, and none gives {freely[0]!r}", parameter="seed")


@_check("serves.bias", "logit_bias pushes a token", needs="token-bias")
def bias(subject: Subject) -> Answer:
    """Push one token as far as the interface allows: nothing else comes."""
    if not subject.server.biases:
        return skipped("the server takes no bias for a token")
    letters = _letters(subject)
    if not letters:
        return skipped("no letter is a token of its own in tokenizer.json")
    letter, token = letters[-1]
    plain = _text(_choice(_complete(subject, _PROMPTS[0])))
    told = _text(_choice(_complete(subject, _PROMPTS[0], logit_bias={str(token): _FORCED})))
    if told.strip() != letter * _STEPS:
        text = f"with token {token} ({letter!r}) pushed by {_FORCED:.0f}, {told!r} came; without, {plain!r}"
        return failed("parameter-ignored", text, parameter="logit_bias")
    return passed(f"{_STEPS} times {letter!r}, as pushed")


@_check("serves.penalties", "frequency_penalty changes an answer that repeats itself", needs="token-bias")
def penalties(subject: Subject) -> Answer:
    """Let the answer choose among a few tokens for twice as many steps: it repeats itself, until that costs."""
    letters = _letters(subject)[:_FEW] if subject.server.biases else []
    if len(letters) < _FEW:
        return skipped(f"fewer than {_FEW} letters can be pushed as tokens of their own")
    pushed = {"logit_bias": {str(token): _FORCED for _, token in letters}, "max_tokens": 2 * _FEW}
    unmoved = {"frequency_penalty": 0, "presence_penalty": 0}
    changed = dict.fromkeys(unmoved, 0)
    for prompt in _PROMPTS:
        plain = _text(_choice(_complete(subject, prompt, **pushed)))
        for name in changed:
            changed[name] += plain != _text(_choice(_complete(subject, prompt, **pushed, **{name: 2.0})))
    # the sum of eight may be even already, and what is repeated may be far ahead: of one prompt it proves nothing
    if not changed["frequency_penalty"]:
        text = f"frequency_penalty changes no answer to {len(_PROMPTS)} prompts that repeat themselves"
        return failed("parameter-ignored", text, parameter="frequency_penalty", changed=changed)
    return passed(f"frequency_penalty changes {changed['frequency_penalty']} of {len(_PROMPTS)} answers", **changed)


@_check("serves.schema", "an answer by a JSON schema is as the schema says")
def schema(subject: Subject) -> Answer:
    """Ask for JSON by a schema: it has to come whole, and to be as the schema says."""
    # a schema binds the answer, and a model may think before it
    asked = _talk(subject, max_tokens=_SCHEMA_STEPS, chat_template_kwargs={"enable_thinking": False})
    asked["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": _SCHEMA, "strict": True},
    }
    form = "json_schema"
    try:
        choice = _choice(subject.server.post("/v1/chat/completions", asked))
    except ServerError as error:
        if not error.status or form not in str(error):
            raise
        # a form of its own, older than the interface's
        form, asked["response_format"] = "json_object", {"type": "json_object", "schema": _SCHEMA}
        choice = _choice(subject.server.post("/v1/chat/completions", asked))
    text = _text(choice) or ""
    if choice.get("finish_reason") == "length":
        return skipped(f"not done after {_SCHEMA_STEPS} tokens: {text[:200]!r}")
    try:
        value = json.loads(text)
    except ValueError as error:
        return failed("schema-violated", f"{text[:200]!r} is no JSON: {error}", text=text)
    fits = isinstance(value, dict) and set(value) == {"answer", "sure"} and value["answer"] in ("yes", "no")
    if not fits or not isinstance(value["sure"], bool):
        return failed("schema-violated", f"{text[:200]!r} is not what the schema says", text=text)
    return passed(f"as the schema says, by {form}: {text[:80]}", form=form)


@_check("serves.alike", "neither a known prefix nor requests at the same time change an answer")
def alike(subject: Subject) -> Answer:
    """Ask the same again, and several at once: neither a prefix known before nor company changes an answer."""
    alone = [_text(_choice(_complete(subject, prompt))) for prompt in _PROMPTS]
    for _ in range(2):  # twice: what happened once is not yet a property of the server
        again = [_text(_choice(_complete(subject, prompt))) for prompt in _PROMPTS]
        with ThreadPoolExecutor(len(_PROMPTS)) as pool:
            together = list(pool.map(lambda prompt: _text(_choice(_complete(subject, prompt))), _PROMPTS))
        if again == alone and together == alone:
            return passed(f"{len(_PROMPTS)} answers are the same again and at once")
    fault, others = ("cache-differs", again) if again != alone else ("batch-differs", together)
    one, other = next(pair for pair in zip(alone, others) if pair[0] != pair[1])
    how = "asked again" if fault == "cache-differs" else "asked beside others"
    return failed(fault, f"{how}, {other!r} came instead of {one!r}", alone=alone, others=others)


def _complete(subject: Subject, prompt: str, **parameters: Any) -> Any:
    return subject.server.post("/v1/completions", _asked(subject, prompt, **parameters))


def _chat(subject: Subject) -> Any:
    return subject.server.post("/v1/chat/completions", _talk(subject))


def _asked(subject: Subject, prompt: str, **parameters: Any) -> dict[str, Any]:
    asked = {"model": subject.server.model, "prompt": prompt, "max_tokens": _STEPS, "temperature": 0.0}
    return {**asked, **_quiet(subject), **parameters}


def _talk(subject: Subject, **parameters: Any) -> dict[str, Any]:
    asked = _asked(subject, "", **parameters)
    del asked["prompt"]
    return {**asked, "messages": [{"role": "user", "content": _PROMPTS[2]}]}


def _choice(told: Any) -> dict[str, Any]:
    choices = told.get("choices") if isinstance(told, dict) else None
    if not choices or not isinstance(choices[0], dict):
        raise ServerError(f"an answer without choices: {str(told)[:300]}")
    return dict(choices[0])


def _text(choice: dict[str, Any]) -> Any:
    """Return the text of a choice, whole or streamed; what is set apart as reasoning belongs to it."""
    said = choice.get("message") or choice.get("delta")
    if isinstance(said, dict):
        return (said.get("reasoning_content") or said.get("reasoning") or "") + (said.get("content") or "")
    return choice.get("text", "")


def _words(subject: Subject) -> dict[str, int]:
    model = optional_json(subject.folder, "tokenizer.json").get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    return words if isinstance(words, dict) else {}


def _letters(subject: Subject) -> list[tuple[str, int]]:
    words = _words(subject)
    return [(letter, words[letter]) for letter in "abcdefghijklmnopqrstuvwxyz" if letter in words]


def _quiet(subject: Subject) -> dict[str, Any]:
    """Keep a miniature, whose weights are random, to plain letters: single bytes of characters are no text.

    Its end-of-sequence tokens are among what is pushed away, so that answers have the length that was asked for.
    """
    if not subject.golden.get("texts") or not subject.server.biases:
        return {}
    plain = {index for word, index in _words(subject).items() if word.isascii() and word.isprintable()}
    meant = token_ids(subject.config_json) | set(_special(subject))
    return {"logit_bias": {str(index): -_FORCED for index in _words(subject).values() if index not in plain - meant}}


def _special(subject: Subject) -> list[int]:
    added = optional_json(subject.folder, "tokenizer.json").get("added_tokens") or []
    unused = [index for word, index in _words(subject).items() if word.startswith("<unused")]
    return [one["id"] for one in added] + unused


def _without_end(subject: Subject) -> dict[str, Any]:
    """Ask full weights, too, for answers that do not end early; servers that know no such word ignore it."""
    return {} if subject.golden.get("texts") else {"ignore_eos": True}
