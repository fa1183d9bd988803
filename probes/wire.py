"""The words that cross the container's wall: the request, the events, the checks and the faults.

Both sides import this module and nothing else of each other. The daemon writes one request as JSON; the probe appends
one JSON object a line to the events file and flushes after each. Everything the probe writes is untrusted.

Request::

    {"wire": 1, "runtime": "transformers", "version": "5.23.0", "isolation": "fork" | "solo", "seed": 0,
     "limit_s": 60.0, "import_limit_s": 300.0, "memory_bytes": 2147483648,
     "subjects": [{"id": "...", "path": "/subjects/0", "golden": {...}, "control": true}, ...]}

Events (``at`` is seconds since the session began)::

    {"event": "session",  "at", "wire", "suite", "runtime", "version", "python"}
    {"event": "started",  "at", "subject": id | null, "check": "loads.tensors"}
    {"event": "finished", "at", "subject", "check", "outcome": "passed" | "failed" | "skipped", "seconds",
                          "fault": slug | null, "message": str, "evidence": {...}}
    {"event": "fact",     "at", "subject", "name", "value"}
    {"event": "died",     "at", "subject", "exit_code", "signal", "timed_out", "out_of_memory", "seconds",
                          "peak_memory_bytes"}
    {"event": "done",     "at"}

``subject: null`` is the session itself (the import, for all subjects at once; its fact ``imported`` names the versions
really imported). ``died`` is written by the supervising parent when a subject's process ended in any way but its own
clean exit; after a clean one it writes the fact ``resources``. ``memory_bytes`` bounds the resident set of a subject's
process group, the imported runtime included. ``fork`` imports once and primes the parent with a throwaway model before
the first subject; ``solo``, for one subject, forks first and the child imports, so that a failure seen after the fork
can be confirmed without it: ``limit_s`` then counts from the end of the import, which has ``import_limit_s``. A child
that dies while importing takes the session with it, by the same signal or exit code. Non-finite numbers are the
strings ``nan``, ``inf`` and ``-inf``.

``golden`` is what the model's own files say, worked out without the runtime; every key may be missing or null::

    {"texts": [str, ...], "template": {"messages": [...], "rendered": str}, "parts": {part_of(name): elements, ...},
     "specials": {"bos": id | null, "eos": [id, ...], "pad": id | null},
     "trace": {"runtime", "version", "day",  # of the pinned reference; without prompts where nobody compares with it
               "spread", "trembling", "prompts": [{"ids": [...], "from": position, "top": [[ids], [logprobs]]}, ...]},
     "pins": true where what this runtime says may become the reference,
     "published": whether a miniature's configuration is a published one, and all of it,
     "no_template": why there is a template and no rendering of it}
"""

from typing import NamedTuple

WIRE = 1
MAX_LINE_BYTES = 1 << 20
MAX_EVENTS_BYTES = 64 << 20
MAX_MESSAGE_CHARS = 4000
OUR_BUG_EXIT = 70  # our own code raised, or could not write what it saw: neither the runtime nor the subject

# name of the check -> (rung, what it asks); the rung names are monitor.domain.Rung's values in order
CHECKS = {
    "installs.resolves": (0, "the index has a consistent set of packages for this release on this platform"),
    "installs.builds": (0, "every package installs, from its wheel or from one built of its sources"),
    "installs.consistent": (0, "what is installed is the lock, and no installed package contradicts another"),
    "installs.imports": (0, "the runtime imports"),
    "knows.architecture": (1, "the architecture is registered"),
    "knows.config": (1, "the effective configuration equals the model's own config.json"),
    "knows.accepts": (1, "creating and loading a model does not fail for its architecture"),
    "loads.converts": (2, "the checkpoint is converted to the runtime's own format"),
    "loads.metadata": (2, "the converted file says of the model what its config.json says"),
    "loads.model": (2, "the checkpoint loads"),
    "loads.tensors": (2, "every tensor of the checkpoint is really loaded: none missing, unexpected or re-initialised"),
    "loads.parts": (2, "every part of the model has the parameters it should have"),
    "loads.reload": (2, "saving and loading again gives the same model"),
    "loads.quantises": (2, "quantised weights load and compute nearly the same"),
    "loads.gguf": (2, "the checkpoint brings a GGUF, or the converter makes one"),
    "loads.creates": (2, "a model is created from the GGUF"),
    "loads.runs": (2, "the created model is taken into memory"),
    "loads.safetensors": (2, "a model is created from the checkpoint itself; for information, it breaks nothing"),
    "generates.forward": (3, "a forward pass gives finite logits that are not flat"),
    "generates.greedy": (3, "greedy generation is deterministic"),
    "generates.cache": (3, "generation with the cache equals generation without"),
    "generates.batch": (3, "a left-padded batch equals its rows one by one"),
    "generates.attention": (3, "attention implementations agree"),
    "generates.stop": (3, "generation ends at the end-of-sequence token"),
    "generates.text": (3, "prompts are answered with text, in as many tokens as were asked for"),
    "generates.repeats": (3, "the same prompt has the same answer, whatever was asked in between"),
    "generates.logprobs": (3, "log-probabilities come with the text, are finite and not flat"),
    "generates.stops": (3, "generation ends before a text that it is told to stop at"),
    "speaks.tokenizer": (4, "the tokenizer loads and its special tokens are the model's own"),
    "speaks.roundtrip": (4, "text survives encoding and decoding"),
    "speaks.template": (4, "the chat template renders as the model's own template says"),
    "speaks.chats": (4, "a chat is answered by the assistant"),
    "speaks.streams": (4, "what is streamed is what comes in one piece"),
    "speaks.tools": (4, "a tool that is offered comes into the prompt, where the model's own template has a place"),
    "speaks.thinking": (4, "thinking can be asked for and left out, where the model's own template has a switch"),
    "matches.trace": (5, "what the reference says of fixed prompts is written down, where nothing is pinned yet"),
    "matches.logprobs": (5, "log-probabilities along given tokens are those of the pinned reference"),
    "serves.format": (6, "an answer is of the JSON schema that was asked for"),
    "serves.embeds": (6, "texts become vectors, the same ones for the same text"),
    "serves.ready": (6, "the OpenAI-compatible server becomes ready and lists the model"),
    "serves.completes": (6, "a completion and a chat come with text, a reason to end and a count of tokens"),
    "serves.streams": (6, "what is streamed equals what is returned at once"),
    "serves.limits": (6, "max_tokens is how many tokens come"),
    "serves.stop": (6, "an answer ends before a stop text"),
    "serves.seed": (6, "equal seeds draw alike, others do not"),
    "serves.bias": (6, "logit_bias pushes a token"),
    "serves.penalties": (6, "frequency_penalty changes an answer that repeats itself"),
    "serves.schema": (6, "an answer by a JSON schema is as the schema says"),
    "serves.alike": (6, "neither a known prefix nor requests at the same time change an answer"),
    "trains.gradients": (8, "every parameter that the loss depends on gets a finite gradient"),
    "trains.checkpointing": (8, "gradient checkpointing gives the same loss and the same gradients"),
    "trains.overfits": (8, "the loss of one batch falls well below what guessing costs"),
    "trains.lora": (8, "a LoRA on all linear layers finds its layers, and the loss falls"),
    "trains.reload": (8, "a trained adapter is the same once it is saved and loaded, merged, and merged and saved"),
}


class Probing(NamedTuple):
    """How one runtime is probed: its adapter, the files of probes/runtimes that it uses, its checks in their order."""

    adapter: str  # module:class
    modules: tuple[str, ...]  # and checks that are not named after their rung's verb
    checks: tuple[str, ...]
    # the runtime whose code answers for the checks that both are asked: what fails there is its own
    stands_on: str = ""


# what several are asked
_OF_TORCH_MODELS = (
    "knows.architecture",
    "knows.config",
    "loads.model",
    "loads.tensors",
    "loads.parts",
    "loads.reload",
)
_OF_SERVERS = (
    "serves.ready",
    "serves.completes",
    "serves.streams",
    "serves.limits",
    "serves.stop",
    "serves.seed",
    "serves.bias",
    "serves.penalties",
    "serves.schema",
    "serves.alike",
)
_OF_LLAMA_CPP = (
    "knows.architecture",
    "loads.converts",
    "loads.metadata",
    "loads.model",
    "generates.forward",
    "loads.quantises",
    "generates.greedy",
    "generates.cache",
    "generates.stop",
    "speaks.tokenizer",
    "speaks.roundtrip",
    "speaks.template",
    "matches.logprobs",
    *_OF_SERVERS,
)

# the table of runtimes; what a session asks, and the judge expects, is its own line and nothing else
RUNTIMES = {
    "transformers": Probing(
        "probes.runtimes.transformers:Transformers",
        ("transformers", "tensors", "traces"),
        (
            *_OF_TORCH_MODELS,
            "generates.forward",
            "generates.greedy",
            "generates.cache",
            "generates.batch",
            "generates.attention",
            "generates.stop",
            "speaks.tokenizer",
            "speaks.roundtrip",
            "speaks.template",
            "matches.trace",
        ),
    ),
    "ollama": Probing(
        "probes.runtimes.ollama:Ollama",
        ("ollama", "ollama_server", "gguf", "converter", "asks"),
        (
            "loads.gguf",
            "knows.accepts",
            "loads.creates",
            "loads.runs",
            "knows.config",
            "generates.text",
            "generates.repeats",
            "generates.logprobs",
            "generates.stops",
            "speaks.template",
            "speaks.chats",
            "speaks.streams",
            "speaks.tools",
            "speaks.thinking",
            "serves.format",
            "serves.embeds",
            # without those that need a bias for a token, which it does not take: random weights may end at any token
            "serves.ready",
            "serves.completes",
            "serves.streams",
            "serves.stop",
            "serves.seed",
            "serves.schema",
            "serves.alike",
            "loads.safetensors",
        ),
    ),
    "peft": Probing(
        "probes.runtimes.peft:Peft",
        ("peft", "training", "transformers", "tensors", "traces"),
        (
            *_OF_TORCH_MODELS,
            "trains.gradients",
            "trains.checkpointing",
            "trains.overfits",
            "trains.lora",
            "trains.reload",
        ),
        stands_on="transformers",
    ),
    "vllm": Probing(
        "probes.runtimes.vllm:Vllm",
        ("traces", "vllm", "vllm_forcing", "vllm_named", "vllm_said", "vllm_server"),
        (
            "knows.architecture",
            "loads.model",
            "generates.forward",
            "generates.greedy",
            "generates.cache",
            "generates.batch",
            "generates.stop",
            "speaks.tokenizer",
            "speaks.roundtrip",
            "speaks.template",
            "matches.logprobs",
            *_OF_SERVERS,
        ),
    ),
    "xllamacpp": Probing(
        "probes.runtimes.xllamacpp:Xllamacpp",
        ("converter", "llamacpp", "traces", "xllamacpp"),
        _OF_LLAMA_CPP,
    ),
    "llama-cpp-python": Probing(
        "probes.runtimes.llama_cpp_python:LlamaCppPython",
        ("converter", "llamacpp", "traces", "llama_cpp_python"),
        _OF_LLAMA_CPP,
    ),
}

# fault -> blame (monitor.domain.Blame's values); a slug not listed here is not accepted from a probe
FAULTS = {
    # the runtime's own
    "unknown-architecture": "runtime",
    "wrong-config": "runtime",
    "load-error": "runtime",
    "not-converted": "runtime",
    "quantised-differs": "runtime",
    "server-error": "runtime",
    "schema-violated": "runtime",
    "missing-tensors": "runtime",
    "unexpected-tensors": "runtime",
    "reinitialised-tensors": "runtime",
    "missing-part": "runtime",
    "reload-differs": "runtime",
    "not-finite": "runtime",
    "flat-logits": "runtime",
    "not-deterministic": "runtime",
    "cache-differs": "runtime",
    "batch-differs": "runtime",
    "attention-differs": "runtime",
    "does-not-stop": "runtime",
    "differs-from-reference": "runtime",
    "tokenizer-error": "runtime",
    "wrong-special-token": "runtime",
    "roundtrip-differs": "runtime",
    "template-differs": "runtime",
    "adapter-error": "runtime",
    "adapter-targets": "runtime",
    "adapter-does-not-learn": "runtime",
    "adapter-lost": "runtime",
    "import-error": "runtime",
    "does-not-build": "runtime",
    "crashed": "runtime",
    "hung": "runtime",
    "needs-newer": "runtime",
    "runner-crashed": "runtime",
    "missing-logprobs": "runtime",
    "stream-differs": "runtime",
    "parameter-ignored": "runtime",
    "tools-unsupported": "runtime",
    "thinking-unsupported": "runtime",
    # what the runtime stands on
    "unresolvable": "dependency",
    "inconsistent": "dependency",
    "dependency-does-not-build": "dependency",
    "dependency-import-error": "dependency",
    "missing-dependency": "dependency",
    "gguf-not-made": "dependency",  # llama.cpp's converter makes none, and Ollama stands on it
    "training-error": "dependency",  # of the library for adapters: the model is what it stands on
    "no-gradient": "dependency",
    "gradient-not-finite": "dependency",
    "checkpointing-ignored": "dependency",
    "checkpointing-differs": "dependency",
    "does-not-learn": "dependency",
    "dependency-lacks-architecture": "dependency",
    # the platform's gap
    "unsupported-on-platform": "platform",
    # the model's own files
    "bad-checkpoint": "model",
    "needs-remote-code": "model",
    "pickle-weights": "model",
    # ours
    "no-wheel": "bench",  # a user's installer may have built it from source; this bench could not
    "bench-memory": "bench",
    "bench-time": "bench",
    "bench-disk": "bench",
    "bench-network": "bench",
    "bench-index": "bench",
    "bench-engine": "bench",
    "bench-events": "bench",
    "bench-interrupted": "bench",
    "bench-miniature": "bench",
    "bench-recipe": "bench",
    # nobody's yet
    "unclassified": "unattributed",
}

# slugs that the bench itself sets from the way a process ended or an install failed; a probe may not claim them. Ours
# that a check can run into (no memory, disk or time, a recipe or miniature that does not fit) it may: they are never
# broken
BENCH_ONLY = frozenset(
    {"crashed", "hung", "unresolvable", "no-wheel", "inconsistent", "does-not-build", "dependency-does-not-build"}
    | {slug for slug, blame in FAULTS.items() if blame == "bench"}
    - {"bench-miniature", "bench-recipe", "bench-memory", "bench-disk", "bench-time"}
)

# part of a model -> words that name it in a tensor's dotted name; the first part that has one wins, else "language"
PARTS = {
    "audio": ("audio", "sound", "speech"),
    "projector": ("projector", "connector", "embed_vision", "mm_proj", "vision_adapter"),
    "vision": ("vision", "visual", "image_encoder", "vit"),
    "lm_head": ("lm_head", "embed_out"),
}


def part_of(name: str) -> str:
    """Return the part of the model that the tensor of this name belongs to; both sides count parameters by it."""
    pieces = name.split(".")
    for part, words in PARTS.items():
        if any(word == piece or (len(word) > 3 and word in piece) for piece in pieces for word in words):  # noqa: PLR2004 -- "vit" only as a whole piece
            return part
    return "language"
