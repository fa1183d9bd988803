"""The words that cross the container's wall: the request, the events, the checks and the faults.

Both sides import this module and nothing else of each other. The daemon writes one request as JSON; the probe appends
one JSON object a line to the events file and flushes after each. Everything the probe writes is untrusted.

Request::

    {"wire": 1, "runtime": "transformers", "version": "5.23.0", "isolation": "fork" | "solo", "seed": 0,
     "limit_s": 60.0, "import_limit_s": 300.0, "memory_bytes": 2147483648, "private": true,
     "subjects": [{"id": "...", "path": "/subjects/0", "golden": {...}, "control": true,
                   "withheld": ["modeling_x.py", ...]}, ...]}

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

With ``private`` the events file is held open outside: the session takes its name away and keeps it to itself, so that
no subject can write for another. ``withheld`` names files of the model's folder that a probe never sees, because they
may hold code: ``path`` has data only.

``golden`` is what the model's own files say, worked out without the runtime; every key may be missing or null::

    {"texts": [str, ...], "template": {"messages": [...], "rendered": str,
     "clock": {"at": the moment of it, "formats": [str, ...]}},  # of a template that writes the time
     "parts": {part_of(name): elements, ...},
     "specials": {"bos": id | null, "eos": [id, ...], "pad": id | null},
     "trace": {"runtime", "version", "day",  # of the pinned reference; without prompts where nothing is compared
               "spread", "trembling", "prompts": [{"ids": [...], "from": position, "top": [[ids], [logprobs]]}, ...]},
     "pins": true where what this runtime says may become the reference,
     "published": whether a miniature's configuration is a published one, and all of it,
     "no_template": why there is a template and no rendering of it,
     "flaws": [{"check", "fault", "message"}, ...] of the model's own files, whatever runtime reads them,
     "form": {"config": what the published config.json says in addition,  # of weights with fewer bits
              "plain": [parts of the names of matrices that are published plain all the same]},
     "not_measured": sentence by part ("weights", "heads", "images", "sounds") of the model that the subject leaves out}
"""

WIRE = 1
MAX_LINE_BYTES = 1 << 20
MAX_EVENTS_BYTES = 64 << 20
MAX_MESSAGE_CHARS = 4000
MAX_FACTS = 200  # of one subject; of its other events there are two a check
OUR_BUG_EXIT = 70  # our own code raised, or could not write what it saw: neither the runtime nor the subject

RUNGS = ("installs", "knows", "loads", "generates", "speaks", "matches", "serves", "adapts", "trains")


def rung_of(check: str) -> int:
    """Return the number of a check's rung: the first word of its name says it."""
    return RUNGS.index(check.partition(".")[0])


# the faults that a probe may claim; what the way a process ended or an install failed says, it may not. Ours that a
# check can run into (no memory, disk or time, a recipe or miniature that does not fit) it may: they are never broken
FAULTS = frozenset(
    """adapter-does-not-learn adapter-error adapter-lost adapter-targets attention-differs bad-checkpoint batch-differs
    broken-template no-stop-token
    infra-disk infra-memory infra-miniature infra-recipe infra-time cache-differs checkpointing-differs
    checkpointing-ignored dependency-import-error dependency-lacks-architecture differs-from-reference
    does-not-learn does-not-stop flat-logits gguf-not-made gradient-not-finite import-error load-error
    missing-dependency missing-logprobs missing-part missing-tensors needs-newer needs-remote-code no-gradient
    image-error image-ignored images-swapped
    not-converted not-deterministic not-finite parameter-ignored pickle-weights quantised-differs published-differs
    reinitialised-tensors reload-differs roundtrip-differs runner-crashed schema-violated server-error
    stream-differs template-differs thinking-unsupported tokenizer-error tools-unsupported training-error
    unclassified unexpected-tensors unknown-architecture unsupported-on-platform wrong-config
    wrong-special-token""".split()  # noqa: SIM905 -- words, as in probes/configuration.py
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
