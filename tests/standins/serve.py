#!/usr/bin/env python3
"""Stands in for the program `ollama`: serves its documented protocol over HTTP, with one fault or none.

No model runs here: each token follows from a hash of the text before it, so that answers are deterministic, differ
between prompts and can be cut, continued and constrained. What it knows of a model it reads from the GGUF that was
uploaded.
"""

from __future__ import annotations

import hashlib
import http.server
import importlib
import json
import math
import os
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = Path(__file__).resolve().parents[1] / "lib" / "ollama"
sys.path.insert(0, str(LIBRARY))
serve_v1: Any = importlib.import_module("serve_v1")  # it lies in the release

OWN = json.loads((LIBRARY / "standin.json").read_text())
VERSION, FAULT = OWN["version"], OWN["fault"]
MODELS = Path(os.environ.get("OLLAMA_MODELS", "models"))
COMMON = "the a of and to in is it was for on as with at by from this that are be not have"
WORDS = [f" {word}" for word in COMMON.split()]
TOKENS = [*WORDS, ".", ",", "\n", " é"]
# by the releases' own table of convertible architectures
CONVERTIBLE = {"LlamaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Qwen2ForCausalLM", "GptOssForCausalLM"}
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
VALIDATES = (0, 30)  # since then create has llama-quantize rewrite the file
LOGPROBS = (0, 12, 11)
DIES_AT = 4  # tokens


class Refusal(Exception):
    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


def log(text: str) -> None:
    sys.stderr.write(f'time={time.strftime("%Y-%m-%dT%H:%M:%SZ")} level=INFO source=server.go msg="{text}"\n')
    sys.stderr.flush()


def release() -> tuple[int, ...]:
    return tuple(int(part) for part in VERSION.split("-")[0].split("."))


def read_gguf(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise Refusal(400, "invalid file magic")
        _version, tensors, count = struct.unpack("<IQQ", file.read(20))
        found = {read_text(file): read_value(file, *struct.unpack("<I", file.read(4))) for _ in range(count)}
    return found | {"general.tensor_count": tensors}


def read_text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    return file.read(length).decode()


def read_value(file: BinaryIO, kind: int) -> Any:
    if kind == TEXT:
        return read_text(file)
    if kind == ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        return [read_value(file, inner) for _ in range(count)]
    form = "<" + SCALARS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def blob(digest: str) -> Path:
    return MODELS / "blobs" / digest.replace(":", "-")


def model_named(name: str) -> dict[str, Any]:
    manifest = MODELS / "manifests" / f"{name}.json"
    if not manifest.is_file():
        raise Refusal(404, f"model '{name}' not found")
    return read_gguf(blob(json.loads(manifest.read_text())["model"]))


def keep(name: str, digest: str) -> None:
    (MODELS / "manifests").mkdir(parents=True, exist_ok=True)
    (MODELS / "manifests" / f"{name}.json").write_text(json.dumps({"model": digest}))


# --- creating and loading ------------------------------------------------------------------------------------------


def created(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    files: dict[str, str] = body["files"]
    if any(name.endswith(".safetensors") for name in files):
        yield from converted(body["model"], files)
        return
    (digest,) = files.values()
    yield {"status": "parsing GGUF"}
    known = read_gguf(blob(digest))
    if FAULT == "needs-newer":
        raise Refusal(412, "The model you are attempting to pull requires a newer version of Ollama.")
    if release() >= VALIDATES:
        yield {"status": "validating GGUF model"}
        if FAULT == "unknown-at-create":
            log(f"llama_model_load: error loading model: unknown model architecture: '{known['general.architecture']}'")
            raise Refusal(
                500,
                "failed to validate GGUF with llama-quantize without compatibility patches: "
                "llama-quantize failed: exit status 1",
            )
    yield {"status": f"using existing layer {digest}"}
    keep(body["model"], digest)
    yield {"status": "writing manifest"}
    yield {"status": "success"}


def converted(name: str, files: dict[str, str]) -> Iterator[dict[str, Any]]:
    yield {"status": "converting model"}
    config = json.loads(blob(files["config.json"]).read_text())
    (architecture, *_) = config.get("architectures") or [""]
    if not architecture:
        raise Refusal(400, "unknown architecture")
    if architecture not in CONVERTIBLE:
        raise Refusal(400, f'unsupported architecture "{architecture}"')
    keep(name, next(digest for file, digest in files.items() if file.endswith(".safetensors")))
    yield {"status": "creating new layer"}
    yield {"status": "writing manifest"}
    yield {"status": "success"}


def load(known: dict[str, Any]) -> None:
    """Fail as loading fails; the runner's own words depend on the release."""
    runner = "llama-server" if release() >= VALIDATES else "llama runner"
    architecture = known["general.architecture"]
    ended = f"{runner} process has terminated: "
    if FAULT == "unknown-at-load":
        cause = f"error loading model: unknown model architecture: '{architecture}'"
        log(f"llama_model_load: {cause}")
        raise Refusal(
            500, f"{ended}exit status 1: {cause}" if release() >= VALIDATES else f"unable to load model: {MODELS}"
        )
    if FAULT == "missing-tensor":
        raise Refusal(500, f"{ended}exit status 1: error loading model: missing tensor 'blk.1.ffn_up.weight'")
    if FAULT == "out-of-memory":
        raise Refusal(
            500,
            "llama-server reported out-of-memory during startup: error loading model: unable to allocate CPU buffer",
        )
    if FAULT == "timed-out":
        raise Refusal(500, "timed out waiting for llama-server to start - ")
    if FAULT == "crash":
        log("ggml.c:1234: GGML_ASSERT(a->ne[2] == b->ne[0]) failed")
        raise Refusal(500, f"{ended}signal: aborted (core dumped)")
    if FAULT == "hang":
        time.sleep(3600)


# --- answering ------------------------------------------------------------------------------------------------------


def likely(text: str, drawn: str = "") -> list[tuple[str, float]]:
    """Return every token with its log-probability after a text, the likeliest first, or as they are ``drawn``."""
    scores = {token: hashlib.sha256(f"{drawn}{text[-80:]}\0{token}".encode()).digest()[0] / 32 for token in TOKENS}
    total = math.log(sum(map(math.exp, scores.values())))
    return sorted(((token, score - total) for token, score in scores.items()), key=lambda pair: -pair[1])


def tells_logprobs() -> bool:
    return release() >= LOGPROBS and FAULT != "no-logprobs"


def generated(prompt: str, body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield tokens with their log-probabilities."""
    options = body.get("options", {})
    steps = options.get("num_predict", 128)
    drawn = str(options.get("seed", time.monotonic_ns())) if options.get("temperature") else ""
    if body.get("format"):
        yield from ((char, told(char, [(char, 0.0)])) for char in json.dumps(of_schema(body["format"], prompt)))
        return
    for _ in range(steps):
        row = likely(prompt, drawn)
        token = row[0][0]
        prompt += token
        yield token, told(token, row[: body.get("top_logprobs", 0)], row[0][1])


def told(token: str, row: list[tuple[str, float]], value: float = 0.0) -> dict[str, Any]:
    top = [{"token": one, "logprob": known, "bytes": list(one.encode())} for one, known in row]
    return {"token": token, "logprob": value, "bytes": list(token.encode()), "top_logprobs": top}


def of_schema(schema: Any, seed: str) -> Any:
    if not isinstance(schema, dict):
        return {}
    pick = hashlib.sha256(seed.encode()).digest()[0]
    if "enum" in schema:
        return schema["enum"][pick % len(schema["enum"])]
    if schema.get("type") == "object":
        return {name: of_schema(inner, seed + name) for name, inner in schema.get("properties", {}).items()}
    return {"boolean": bool(pick % 2), "integer": pick, "number": pick / 2, "string": "x"}.get(schema.get("type", ""))


def rendered(known: dict[str, Any], body: dict[str, Any]) -> str:
    """Render the one family of templates that is known here; any other model has its messages one after the other."""
    messages = body["messages"]
    if "<|im_start|>" not in known.get("tokenizer.chat_template", ""):
        return "".join(message["content"] for message in messages)
    text = ""
    if tools := body.get("tools"):
        text += "<|im_start|>system\n# Tools\n" + "\n".join(map(json.dumps, tools)) + "<|im_end|>\n"
    for message in messages:
        text += f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
    text += "<|im_start|>assistant\n" + ("<think>\n\n</think>\n\n" if body.get("think") is False else "")
    return text.replace("<|im_end|>\n", "<|im_end|>", 1) if FAULT == "template-differs" else text


def capabilities(known: dict[str, Any]) -> list[str]:
    template = known.get("tokenizer.chat_template", "")
    found = ["completion"]
    if "tools" in template and FAULT != "tools-unsupported":
        found.append("tools")
    return [*found, "thinking"] if "enable_thinking" in template else found


def check_capabilities(name: str, known: dict[str, Any], body: dict[str, Any]) -> None:
    found = capabilities(known)
    if body.get("think") and "thinking" not in found:
        raise Refusal(400, f'"{name}" does not support thinking')
    if body.get("tools") and "tools" not in found:
        raise Refusal(400, f"registry.ollama.ai/library/{name}:latest does not support tools")


def answers(path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the lines of a stream, the last one done; what is refused before the first has a status of its own."""
    name = body["model"]
    known = model_named(name)
    own = {"model": name, "created_at": time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z")}
    chat = path == "/api/chat"
    if chat:
        check_capabilities(name, known, body)
    load(known)
    if not chat and not body.get("prompt"):
        return iter([{**own, "response": "", "done": True, "done_reason": "load"}])
    prompt = rendered(known, body) if chat else body["prompt"]
    if body.get("_debug_render_only"):
        return iter([{**own, "_debug_info": {"rendered_template": prompt, "image_count": 0}}])
    return lines_of(own, prompt, body, chat=chat)


def lines_of(own: dict[str, Any], prompt: str, body: dict[str, Any], *, chat: bool) -> Iterator[dict[str, Any]]:
    def piece(text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}} if chat else {"response": text}

    pieces = list(generated(prompt, body))
    whole = "".join(token for token, _ in pieces)
    stops = body.get("options", {}).get("stop") or [] if FAULT != "ignores-stop" else []
    ends = [whole.index(stop) for stop in stops if stop in whole]
    left = min(ends, default=len(whole))
    streamed, count = body.get("stream", True), 0
    for token, entry in pieces:
        shown, left, count = token[:left], left - len(token[:left]), count + 1
        if FAULT == "dies-generating" and count == DIES_AT:
            log("panic: runtime error: index out of range")
            os._exit(2)
        if FAULT == "error-in-stream" and streamed and count == DIES_AT:
            raise Refusal(500, "an error was encountered while running the model: unexpected EOF")
        logprobs = {"logprobs": [entry]} if body.get("logprobs") and tells_logprobs() else {}
        shown = shown.upper() if FAULT == "stream-differs" and streamed else shown
        yield {**own, **piece(shown), "done": False, **logprobs}
        if not left and ends:
            break
    reason = "stop" if ends or body.get("format") else "length"
    counts = {"prompt_eval_count": len(prompt.split()), "eval_count": count}
    durations = dict.fromkeys(("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"), 1000)
    yield {**own, **piece(""), "done": True, "done_reason": reason, **durations, **counts}


def joined(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Make one answer of the lines of a stream."""
    whole = dict(lines[-1])
    for line in lines[:-1]:
        if "message" in line:
            whole["message"] = {**whole["message"], "content": ""}
    if "message" in whole:
        whole["message"]["content"] = "".join(line["message"]["content"] for line in lines)
    elif "response" in whole:
        whole["response"] = "".join(line["response"] for line in lines)
    logprobs = [entry for line in lines for entry in line.get("logprobs", ())]
    return {**whole, "logprobs": logprobs} if logprobs else whole


def shown(body: dict[str, Any]) -> dict[str, Any]:
    known = model_named(body["model"])
    details = {"format": "gguf", "family": known["general.architecture"], "families": [known["general.architecture"]]}
    info = {key: value for key, value in known.items() if not isinstance(value, list)}
    info.pop("tokenizer.chat_template", None)
    return {"details": details, "model_info": info, "capabilities": capabilities(known)}


def embedded(body: dict[str, Any]) -> dict[str, Any]:
    known = model_named(body["model"])
    size = known.get(f"{known['general.architecture']}.embedding_length", 8)
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    rows = [[hashlib.sha256(f"{text}{place}".encode()).digest()[0] - 128 for place in range(size)] for text in texts]
    lengths = [math.sqrt(sum(value * value for value in row)) for row in rows]
    return {
        "model": body["model"],
        "embeddings": [[v / length for v in row] for row, length in zip(rows, lengths, strict=True)],
    }


class Protocol(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/api/version":
            self.whole(200, {"version": "0.0.0" if FAULT == "wrong-version" else VERSION})
        elif self.path == "/v1/models":
            self.whole(200, serve_v1.models([path.stem for path in (MODELS / "manifests").glob("*.json")]))
        else:
            self.whole(404, {"error": "not found"})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.path.startswith("/api/blobs/"):
                self.upload(self.path.removeprefix("/api/blobs/"), raw)
                return
            body = json.loads(raw)
            if self.path in serve_v1.OWN:
                self.answer_v1(serve_v1.own_request(self.path, body, FAULT))
            elif self.path in {"/api/create", "/api/generate", "/api/chat"}:
                lines = created(body) if self.path == "/api/create" else answers(self.path, body)
                self.streamed(lines) if body.get("stream", True) else self.whole(200, joined(list(lines)))
            elif self.path in {"/api/show", "/api/embed"}:
                self.whole(200, (shown if self.path == "/api/show" else embedded)(body))
            else:
                self.whole(404, {"error": "not found"})
        except Refusal as error:
            self.whole(error.status, {"error": str(error)})

    def answer_v1(self, body: dict[str, Any]) -> None:
        lines = answers(serve_v1.OWN[self.path], body)
        if not body["stream"]:
            self.whole(200, serve_v1.whole(joined(list(lines))))
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for event in serve_v1.events(lines, FAULT):
            self.wfile.write(event)

    def upload(self, digest: str, raw: bytes) -> None:
        found = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if found != digest:
            raise Refusal(400, f'digest mismatch, expected "{digest}", got "{found}"')
        blob(digest).parent.mkdir(parents=True, exist_ok=True)
        blob(digest).write_bytes(raw)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def whole(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def streamed(self, lines: Iterator[dict[str, Any]]) -> None:
        """Send lines as they come; what fails on the way is a line, too, for the status is sent by then."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for line in lines:
                self.chunk(line)
        except Refusal as error:
            self.chunk({"error": str(error), **({"status": error.status} if self.path == "/api/create" else {})})
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, line: dict[str, Any]) -> None:
        content = json.dumps(line).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the server's own name
        log("[GIN] " + format % args)


def main() -> None:
    if sys.argv[1:] != ["serve"]:
        sys.exit(f'Error: unknown command {sys.argv[1:]!r} for "ollama"')
    host, _, port = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434").rpartition(":")
    log(f"Listening on {host}:{port} (version {VERSION})")
    http.server.ThreadingHTTPServer((host, int(port)), Protocol).serve_forever()


if __name__ == "__main__":
    main()
