"""The stand-in's other interface, as OpenAI's clients speak it: each request becomes one of its own, as in Ollama."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = {"/v1/completions": "/api/generate", "/v1/chat/completions": "/api/chat"}


def own_request(path: str, body: dict[str, Any], fault: str) -> dict[str, Any]:
    """Return the request of Ollama's own interface that says the same; what it has no word for is left out."""
    options = {"num_predict": body.get("max_tokens", 128), "temperature": body.get("temperature", 1.0)}
    if "seed" in body and fault != "v1-ignores-seed":
        options["seed"] = body["seed"]
    stop = body.get("stop") or []
    options["stop"] = [stop] if isinstance(stop, str) else stop
    asked = {"model": body["model"].removesuffix(":latest"), "stream": bool(body.get("stream")), "options": options}
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        asked["format"] = form["json_schema"]["schema"]
    said = "messages" if path.endswith("/chat/completions") else "prompt"
    return {**asked, said: body[said]}


def models(names: list[str]) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": f"{name}:latest", "object": "model"} for name in names]}


def whole(answer: dict[str, Any]) -> dict[str, Any]:
    said = {"message": answer["message"]} if "message" in answer else {"text": answer["response"]}
    read, made = answer["prompt_eval_count"], answer["eval_count"]
    return {
        "choices": [{"index": 0, **said, "finish_reason": answer["done_reason"]}],
        "usage": {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made},
    }


def events(lines: Iterator[dict[str, Any]], fault: str) -> Iterator[bytes]:
    for line in lines:
        text = line["message"]["content"] if "message" in line else line["response"]
        text = text.upper() if fault == "v1-stream-differs" else text
        said = {"delta": {"role": "assistant", "content": text}} if "message" in line else {"text": text}
        choice = {"index": 0, **said, "finish_reason": line.get("done_reason")}
        yield f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
    yield b"data: [DONE]\n\n"
