"""Checkpoint folders with one fault each, made from a good one; and a small good one without any runtime."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

Entries = dict[str, tuple[str, list[int], bytes]]


def bare(target: Path, **config: Any) -> Path:
    """Write the smallest folder that reads as a checkpoint; no runtime could make a model of it."""
    target.mkdir(parents=True)
    written = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64, **config}
    (target / "config.json").write_text(json.dumps(written), encoding="utf-8")
    (target / "vocab.txt").write_text("<unk>\n", encoding="utf-8")
    rows = bytes(range(64))
    write_safetensors(
        target / "model.safetensors", {"a.weight": ("F32", [4, 4], rows), "b.weight": ("BF16", [4], rows[:8])}
    )
    return target


def missing_tensor(good: Path, target: Path, name: str = "") -> Path:
    """Leave out one tensor, by default a projection in the middle, as a broken conversion does."""
    copy = _copied(good, target)
    entries = read_safetensors(copy / "model.safetensors")
    chosen = name or next(each for each in sorted(entries) if "down_proj" in each or "o_proj" in each)
    del entries[chosen]
    write_safetensors(copy / "model.safetensors", entries)
    return copy


def extra_tensor(good: Path, target: Path) -> Path:
    copy = _copied(good, target)
    entries = read_safetensors(copy / "model.safetensors")
    entries["model.layers.0.self_attn.extra_proj.weight"] = ("F32", [2, 2], bytes(16))
    write_safetensors(copy / "model.safetensors", entries)
    return copy


def truncated_weights(good: Path, target: Path) -> Path:
    copy = _copied(good, target)
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    return copy


def broken_config(good: Path, target: Path) -> Path:
    copy = _copied(good, target)
    text = (copy / "config.json").read_text(encoding="utf-8")
    (copy / "config.json").write_text(text.rstrip()[:-1] + ",", encoding="utf-8")
    return copy


def pickle_only(good: Path, target: Path) -> Path:
    """Leave only the pickle format; its content does not matter, because nobody may open it."""
    copy = _copied(good, target)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    return copy


def remote_code(good: Path, target: Path) -> Path:
    """Ask for the repository's own code, which says so loudly if anybody runs it."""
    copy = _configured(good, target, model_type="made_here", auto_map={"AutoConfig": "configuration_made.Made"})
    (copy / "configuration_made.py").write_text("raise SystemExit('remote code ran')\n", encoding="utf-8")
    return copy


def unknown_architecture(good: Path, target: Path) -> Path:
    return _configured(good, target, model_type="never_published", architectures=["NeverPublishedForCausalLM"])


def no_tokenizer(good: Path, target: Path) -> Path:
    copy = _copied(good, target)
    for file in [*copy.glob("tokenizer*"), *copy.glob("vocab*")]:
        file.unlink()
    return copy


def broken_tokenizer_config(good: Path, target: Path) -> Path:
    copy = _copied(good, target)
    (copy / "tokenizer_config.json").write_text('{"chat_template": "{% for message in', encoding="utf-8")
    return copy


def read_safetensors(path: Path) -> Entries:
    content = path.read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:start])
    return {
        name: (
            entry["dtype"],
            entry["shape"],
            content[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }


def write_safetensors(path: Path, entries: Entries) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, (dtype, shape, content) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + len(content)]}
        place += len(content)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(entry[2] for entry in entries.values()))


def _copied(good: Path, target: Path) -> Path:
    return Path(shutil.copytree(good, target))


def _configured(good: Path, target: Path, **changes: Any) -> Path:
    copy = _copied(good, target)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps({**config, **changes}), encoding="utf-8")
    return copy


RAN = "REMOTE CODE RAN"


def code_that_marks(mark: Path) -> str:
    """Return code that says loudly that it runs, leaves a file where it can, and goes on as if nothing had happened."""
    return (
        f"import contextlib, os\nos.write(2, b'{RAN}\\n')\n"
        f"with contextlib.suppress(OSError):\n    open({str(mark)!r}, 'w').close()\n"
    )


def code_everywhere(good: Path, target: Path, mark: Path) -> Path:
    """Put code wherever a runtime may look for a model's own, into a folder that needs none of it."""
    classes = {name: f"modeling_made.{name}" for name in ("AutoConfig", "AutoModel", "AutoModelForCausalLM")}
    copy = _configured(good, target, auto_map=classes)
    _with_own_tokenizer(copy)
    for name in ("modeling_made", "tokenization_made", "custom_generate/generate", "__init__", "sitecustomize"):
        file = copy / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(code_that_marks(mark), encoding="utf-8")
    for name in ("pytorch_model.bin", "training_args.bin", "consolidated.00.pth", "rng_state.pkl"):
        (copy / name).write_bytes(pickle.dumps(_Pickled(code_that_marks(mark))))
    return copy


def code_for_the_tokenizer(good: Path, target: Path, mark: Path) -> Path:
    """Need the model's own tokenizer, in an architecture whose converter in llama.cpp trusts it."""
    copy = _configured(
        good, target, architectures=["HunYuanDenseV1ForCausalLM"], model_type="hunyuan_v1_dense", auto_map={}
    )
    (copy / "tokenizer.json").unlink()
    _with_own_tokenizer(copy)
    (copy / "vocab.txt").write_text("<unk>\n", encoding="utf-8")
    made = f"{code_that_marks(mark)}\nclass Made:\n    @classmethod\n    def from_pretrained(cls, *_, **__):\n"
    (copy / "tokenization_made.py").write_text(f"{made}        return cls()\n", encoding="utf-8")
    return copy


def _with_own_tokenizer(folder: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["auto_map"] = {"AutoTokenizer": ["tokenization_made.Made", "tokenization_made.Made"]}
    if not (folder / "tokenizer.json").exists():
        settings["tokenizer_class"] = "Made"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


class _Pickled:
    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self._code,)
