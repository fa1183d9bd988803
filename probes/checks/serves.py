"""Rung 6: the OpenAI-compatible server gets ready, answers, streams what it answers, and obeys its parameters."""

from __future__ import annotations

import functools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from probes.catalogue import check
from probes.checkpoint import optional_json, token_ids
from probes.events import Answer, failed, passed, skipped
from probes.served import ServerError
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


@_check("serves.ready", after=("loads.model", "loads.runs"))
def ready(subject: Subject) -> Answer:
    """The OpenAI-compatible server becomes ready and lists the model."""
    subject.server, seconds = subject.runtime.serve(subject)
    listed = subject.server.get("/v1/models").get("data") or []
    names = [entry.get("id") for entry in listed]
    if subject.server.model not in names:
        return failed("server-error", f"the server lists {names!r} and not {subject.server.model!r}")
    return passed(f"ready in {seconds:.1f} s", ready_s=seconds)


@_check("serves.completes")
def completes(subject: Subject) -> Answer:
    """A completion and a chat return text, a reason to end and a token count."""
    plain = _complete(subject, _PROMPTS[0])
    chat = subject.server.post("/v1/chat/completions", _chat_request(subject))
    for kind, answer in (("completion", plain), ("chat", chat)):
        choice, usage = _choice(answer), answer.get("usage") or {}
        if not isinstance(_text(choice), str) or choice.get("finish_reason") not in {"length", "stop"}:
            return failed("server-error", f"a {kind} has no text or no reason to end: {choice!r}")
        if not (usage.get("prompt_tokens") and usage.get("completion_tokens")):
            return failed("server-error", f"a {kind} has no token count: {usage!r}")
    return passed("a completion and a chat", completion=plain.get("usage"), chat=chat.get("usage"))


@_check("serves.streams")
def streams(subject: Subject) -> Answer:
    """The streamed answer equals the answer returned at once."""
    requests = {"/v1/completions": _request(subject, _PROMPTS[1]), "/v1/chat/completions": _chat_request(subject)}
    for path, request in requests.items():
        whole = _choice(subject.server.post(path, request))
        pieces, reason = [], None
        for event in subject.server.stream(path, request):
            for choice in event.get("choices") or ():
                pieces.append(_text(choice) or "")
                reason = choice.get("finish_reason") or reason
        streamed, returned = "".join(pieces), _text(whole) or ""
        if streamed != returned:
            answer = f"{path} streams {streamed[:80]!r} and returns {returned[:80]!r}"
            return failed("stream-differs", answer, streamed=streamed, returned=returned)
        if reason != whole.get("finish_reason"):
            answer = f"{path} ends with {reason!r} when streamed and with {whole.get('finish_reason')!r} when not"
            return failed("stream-differs", answer)
    return passed("streamed equals returned, in completions and in chats")


@_check("serves.limits", needs="token-bias")
def limits(subject: Subject) -> Answer:
    """An answer has as many tokens as max_tokens allows.

    The answer of few tokens is the beginning of the answer of more.
    """
    texts = {}
    # full weights must not end early, either; servers without this parameter ignore it
    without_end = {} if subject.golden.get("texts") else {"ignore_eos": True}
    for steps in (3, 9):
        answer = _complete(subject, _PROMPTS[0], max_tokens=steps, **without_end)
        count, reason = (answer.get("usage") or {}).get("completion_tokens"), _choice(answer).get("finish_reason")
        if count != steps or reason != "length":
            return failed("parameter-ignored", f"{count} tokens came instead of {steps}, ended by {reason!r}")
        texts[steps] = _text(_choice(answer))
    # the last token's bytes may be held back until a character is whole
    if not texts[9].startswith(texts[3].rstrip("\ufffd")):
        return failed("not-deterministic", f"with 3 tokens the answer is {texts[3]!r}, with 9 it is {texts[9]!r}")
    return passed("as many tokens as requested")


@_check("serves.stop")
def stop(subject: Subject) -> Answer:
    """An answer ends before a stop text."""
    whole = _answer(subject, _PROMPTS[0])
    places = [index for index, sign in enumerate(whole) if index and sign.isalnum() and sign not in whole[:index]]
    if not places:
        return skipped(f"the answer {whole!r} has no character to stop at")
    sign = whole[places[len(places) // 2]]
    answer = _choice(_complete(subject, _PROMPTS[0], stop=[sign]))
    wanted = whole[: whole.index(sign)]
    if _text(answer) != wanted or answer.get("finish_reason") != "stop":
        text = f"with the stop text {sign!r}, the answer {whole!r} becomes {_text(answer)!r}"
        return failed("parameter-ignored", f"{text}, ended by {answer.get('finish_reason')!r}", parameter="stop")
    return passed(f"ends at {sign!r}")


@_check("serves.seed")
def seed(subject: Subject) -> Answer:
    """Equal seeds give equal answers, and different seeds different ones."""
    ways = {"temperature": 1.0, "top_p": 1.0}
    first, repeated = (_answer(subject, _PROMPTS[2], seed=7, **ways) for _ in range(2))
    if first != repeated:
        return failed("parameter-ignored", f"seed 7 gives {first!r} and then {repeated!r}", parameter="seed")
    others = [_answer(subject, _PROMPTS[2], seed=seed, **ways) for seed in (8, 9, 10)]
    if any(other != first for other in others):
        return passed("equal seeds give equal answers, and other seeds others")
    freely = [_answer(subject, _PROMPTS[2], **ways) for _ in others]
    if any(other == first for other in freely):
        return skipped(f"the model has one likely answer: {first!r}, with a seed and without")
    text = f"four seeds all give {first!r}; without a seed the answer is {freely[0]!r}"
    return failed("parameter-ignored", text, parameter="seed")


@_check("serves.bias", needs="token-bias")
def bias(subject: Subject) -> Answer:
    """A token with a high logit_bias is generated."""
    if not subject.server.biases:
        return skipped("the server takes no bias for a token")
    letters = _letters(subject)
    if not letters:
        return skipped("tokenizer.json has no letter as a token")
    letter, token = letters[-1]
    plain = _answer(subject, _PROMPTS[0])
    answer = _answer(subject, _PROMPTS[0], logit_bias={str(token): _FORCED})
    if answer.strip() != letter * _STEPS:
        text = f"with token {token} ({letter!r}) pushed by {_FORCED:.0f}, the answer is {answer!r}; without, {plain!r}"
        return failed("parameter-ignored", text, parameter="logit_bias")
    return passed(f"{_STEPS} times the pushed {letter!r}")


@_check("serves.penalties", needs="token-bias")
def penalties(subject: Subject) -> Answer:
    """An answer that repeats itself changes with frequency_penalty.

    The answer chooses among a few tokens for twice as many steps, so it repeats itself.
    """
    letters = _letters(subject)[:_FEW] if subject.server.biases else []
    if len(letters) < _FEW:
        return skipped(f"fewer than {_FEW} letters are tokens that can be pushed")
    pushed = {"logit_bias": {str(token): _FORCED for _, token in letters}, "max_tokens": 2 * _FEW}
    unmoved = {"frequency_penalty": 0, "presence_penalty": 0}
    changed = dict.fromkeys(unmoved, 0)
    for prompt in _PROMPTS:
        plain = _answer(subject, prompt, **pushed)
        for name in changed:
            changed[name] += plain != _answer(subject, prompt, **pushed, **{name: 2.0})
    # one prompt proves nothing: eight tokens may take turns already, or one may be far ahead
    if not changed["frequency_penalty"]:
        text = f"frequency_penalty changes no answer to {len(_PROMPTS)} prompts that repeat themselves"
        return failed("parameter-ignored", text, parameter="frequency_penalty", changed=changed)
    return passed(f"frequency_penalty changes {changed['frequency_penalty']} of {len(_PROMPTS)} answers", **changed)


@_check("serves.schema")
def schema(subject: Subject) -> Answer:
    """An answer of the OpenAI-compatible server follows the requested JSON schema."""
    # a schema binds the answer; a model may think before it
    request = _chat_request(subject, max_tokens=_SCHEMA_STEPS, chat_template_kwargs={"enable_thinking": False})
    request["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": _SCHEMA, "strict": True},
    }
    form = "json_schema"
    try:
        choice = _choice(subject.server.post("/v1/chat/completions", request))
    except ServerError as error:
        if not error.status or form not in str(error):
            raise
        # an older form that some servers have
        form, request["response_format"] = "json_object", {"type": "json_object", "schema": _SCHEMA}
        choice = _choice(subject.server.post("/v1/chat/completions", request))
    text = _text(choice) or ""
    if choice.get("finish_reason") == "length":
        return skipped(f"the answer is not complete after {_SCHEMA_STEPS} tokens: {text[:200]!r}")
    try:
        value = json.loads(text)
    except ValueError as error:
        return failed("schema-violated", f"{text[:200]!r} is not JSON: {error}", text=text)
    fits = isinstance(value, dict) and set(value) == {"answer", "sure"} and value["answer"] in ("yes", "no")
    if not fits or not isinstance(value["sure"], bool):
        return failed("schema-violated", f"{text[:200]!r} does not follow the schema", text=text)
    return passed(f"follows the schema, by {form}: {text[:80]}", form=form)


@_check("serves.alike")
def alike(subject: Subject) -> Answer:
    """An answer stays the same with a cached prefix, with parallel requests and as one of two choices."""
    alone = [_answer(subject, prompt) for prompt in _PROMPTS]
    for _ in range(2):  # twice: what happened once is not yet a property of the server
        repeated = [_answer(subject, prompt) for prompt in _PROMPTS]
        with ThreadPoolExecutor(len(_PROMPTS)) as pool:
            together = list(pool.map(lambda prompt: _answer(subject, prompt), _PROMPTS))
        if repeated == alone and together == alone:
            return _several_choices(subject, alone[0])
    if subject.coarse:
        return skipped(f"{subject.coarse}, and rounding may choose other tokens")
    fault, others = ("cache-differs", repeated) if repeated != alone else ("batch-differs", together)
    entry, other = next(pair for pair in zip(alone, others) if pair[0] != pair[1])
    how = "repeated" if fault == "cache-differs" else "requested with others at once"
    return failed(fault, f"{how}, a prompt gets {other!r} instead of {entry!r}", alone=alone, others=others)


def _several_choices(subject: Subject, alone: Any) -> Answer:
    """Compare an answer with two choices, where the server makes them, with the answer alone."""
    same = f"{len(_PROMPTS)} answers are the same when repeated and when requested at once"
    # one likeliest token is all there is to draw from: some servers refuse several choices without drawing
    likeliest = {"temperature": 1.0, "top_k": 1, "seed": 7}
    if _answer(subject, _PROMPTS[0], **likeliest) != alone:
        return passed(f"{same}; n=2 is not asked, for top_k has no effect")
    try:
        choices = _complete(subject, _PROMPTS[0], n=2, **likeliest).get("choices") or []
    except ServerError as error:
        if not error.status:
            raise
        return passed(f"{same}; n=2 is refused with {error.status}")
    texts = [_text(choice) for choice in choices]
    if all(text == alone for text in texts):
        return passed(f"{same}; with n=2, {len(texts)}")
    if subject.coarse:
        return skipped(f"{subject.coarse}, and rounding may choose other tokens")
    return failed("batch-differs", f"with n=2, a prompt gets {texts!r} instead of {alone!r}", choices=texts)


def _complete(subject: Subject, prompt: str, **parameters: Any) -> Any:
    return subject.server.post("/v1/completions", _request(subject, prompt, **parameters))


def _answer(subject: Subject, prompt: str, **parameters: Any) -> Any:
    return _text(_choice(_complete(subject, prompt, **parameters)))


def _request(subject: Subject, prompt: str, **parameters: Any) -> dict[str, Any]:
    request = {"model": subject.server.model, "prompt": prompt, "max_tokens": _STEPS, "temperature": 0.0}
    return {**request, **_quiet(subject), **parameters}


def _chat_request(subject: Subject, **parameters: Any) -> dict[str, Any]:
    request = _request(subject, "", **parameters)
    del request["prompt"]
    return {**request, "messages": [{"role": "user", "content": _PROMPTS[2]}]}


def _choice(answer: Any) -> dict[str, Any]:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not choices or not isinstance(choices[0], dict):
        raise ServerError(f"an answer has no choices: {str(answer)[:300]}")
    return dict(choices[0])


def _text(choice: dict[str, Any]) -> Any:
    """Return the text of a choice, whole or streamed, with its reasoning."""
    message = choice.get("message") or choice.get("delta")
    if isinstance(message, dict):
        return (message.get("reasoning_content") or message.get("reasoning") or "") + (message.get("content") or "")
    return choice.get("text", "")


def _words(subject: Subject) -> dict[str, int]:
    model = optional_json(subject.folder, "tokenizer.json").get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    return words if isinstance(words, dict) else {}


def _letters(subject: Subject) -> list[tuple[str, int]]:
    words = _words(subject)
    return [(letter, words[letter]) for letter in "abcdefghijklmnopqrstuvwxyz" if letter in words]


def _quiet(subject: Subject) -> dict[str, Any]:
    """Keep a miniature to plain letters: random weights give single bytes of characters, which are no text.

    Its end-of-sequence tokens are pushed away too, so that answers have the requested length.
    """
    if not subject.golden.get("texts") or not subject.server.biases:
        return {}
    words = _words(subject)
    added = optional_json(subject.folder, "tokenizer.json").get("added_tokens") or []
    special = token_ids(subject.config_json) | {entry["id"] for entry in added}
    plain = {
        index
        for word, index in words.items()
        if word.isascii() and word.isprintable() and not word.startswith("<unused")
    } - special
    return {"logit_bias": {str(index): -_FORCED for index in words.values() if index not in plain}}
