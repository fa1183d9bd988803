"""The smallest server of the OpenAI-compatible interface: a model of letters that obeys, but for one defect."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LETTERS = "abcdefghijklmnopqrstuvwxyz"
IGNORED = ("stop", "seed", "logit_bias", "frequency_penalty")
DEFECTS = (*(f"ignores {name}" for name in IGNORED), "streams something else", "counts wrongly", "breaks the schema",
           "remembers", "mixes", "varies its choices")  # fmt: skip


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, defect: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.defect = defect
        self.asked: set[str] = set()
        self.busy = 0


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer(json.dumps({"data": [{"id": "letters"}]}))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chat = "messages" in asked
        self.server.busy += 1
        text, reason = self._text(asked, json.dumps(asked["messages"]) if chat else asked["prompt"])
        self.server.busy -= 1
        usage = {"prompt_tokens": 4, "completion_tokens": len(text) + (self.server.defect == "counts wrongly")}
        if not asked.get("stream"):
            other = "?" + text[1:] if self.server.defect == "varies its choices" else text
            texts = [text, *[other] * (asked.get("n", 1) - 1)]
            told = [{"message": {"role": "assistant", "content": text}} if chat else {"text": text} for text in texts]
            choices = [{**choice, "finish_reason": reason} for choice in told]
            self._answer(json.dumps({"choices": choices, "usage": usage}))
            return
        pieces = list(text[:-1] + "?" if self.server.defect == "streams something else" else text)
        events: list[dict[str, Any]] = [{"delta": {"content": piece}} if chat else {"text": piece} for piece in pieces]
        events[-1]["finish_reason"] = reason
        lines = [f"data: {json.dumps({'choices': [event]})}\n\n" for event in events]
        self._answer("".join([*lines, "data: [DONE]\n\n"]))

    def _answer(self, content: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content.encode())

    def _text(self, asked: dict[str, Any], prompt: str) -> tuple[str, str]:
        asked = {name: value for name, value in asked.items() if f"ignores {name}" != self.server.defect}
        if asked.get("response_format"):
            good = {"answer": "yes", "sure": True}
            return json.dumps(good if self.server.defect != "breaks the schema" else {**good, "sure": "very"}), "stop"
        salt = self._salt(json.dumps(asked, sort_keys=True) + prompt)
        text, counts = "", dict.fromkeys(LETTERS, 0)
        for _ in range(asked["max_tokens"]):
            scores = {letter: self._score(letter, text, prompt + salt, asked, counts) for letter in LETTERS}
            best = max(scores, key=lambda letter: scores[letter])
            if best in (asked.get("stop") or ()):
                return text, "stop"
            text += best
            counts[best] += 1
        return text, "length"

    def _salt(self, key: str) -> str:
        again = self.server.defect == "remembers" and key in self.server.asked
        self.server.asked.add(key)
        if self.server.defect == "mixes":
            threading.Event().wait(0.02)
        return "x" if again or (self.server.defect == "mixes" and self.server.busy > 1) else ""

    @staticmethod
    def _score(letter: str, text: str, prompt: str, asked: dict[str, Any], counts: dict[str, int]) -> float:
        digest = hashlib.sha256(f"{prompt}|{text[-1:]}|{letter}".encode()).digest()
        score = digest[0] / 128 - counts[letter] * float(asked.get("frequency_penalty") or 0)
        if asked["temperature"] and asked.get("top_k") != 1:
            drawn = asked.get("seed", time.monotonic_ns())
            score += hashlib.sha256(f"{drawn}{text}{letter}".encode()).digest()[0] / 64
        return score + float((asked.get("logit_bias") or {}).get(str(LETTERS.index(letter)), 0))


@contextlib.contextmanager
def serving(defect: str = "") -> Iterator[str]:
    """Lend the address of a running server."""
    server = Server(defect)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
