"""Tiny installable packages with one fault each: real wheels that a real installer puts beside the real runtime.

Each wheel carries a ``.pth`` line that loads its module when Python starts; the module waits for one import and then
does its damage. So the fault happens inside the real runtime, in the place where a broken release would have it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

from tests.specimens.hooks import HOOK, after, indent, on_import

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    Package: TypeAlias = tuple[str, Sequence[str]]  # the module's source, and what it requires

VERSION = "1.0"

_XLM_ROBERTA = "transformers.models.xlm_roberta.modeling_xlm_roberta"
_QWEN3 = "transformers.models.qwen3.modeling_qwen3"


def _in_qwen3_forward(body: str) -> str:
    patch = f"def forward(*args, **kwargs):\n{indent(body)}\n    return plain(*args, **kwargs)"
    damage = f"plain = module.Qwen3Model.forward\n{patch}\nmodule.Qwen3Model.forward = forward"
    return f"TARGET, BEFORE = {_QWEN3!r}, False\ndef damage(module):\n{indent(damage)}\n{HOOK}"


# the probe's own way to write events, out of its frames
_WRITE = (
    "import sys\nframe = sys._getframe()\nwhile 'events' not in frame.f_locals:\n    frame = frame.f_back\n"
    "write = frame.f_locals['events'].write\n"
)

# the table of expected verdicts is in test_specimens.py
PACKAGES: Mapping[str, Package] = {
    "import-error": (on_import("raise ImportError(\"cannot import name 'gone' from 'huggingface_hub'\")"), []),
    "segfault": (_in_qwen3_forward("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"), []),
    # written to, because memory that is only asked for is not taken
    "out-of-memory": (_in_qwen3_forward("hoard = []\nwhile True:\n    hoard.append(b'x' * (64 << 20))"), []),
    "hang": (_in_qwen3_forward("import time\nwhile True:\n    time.sleep(1)"), []),
    "output-flood": (
        _in_qwen3_forward(
            "import os\nif not globals().get('flooded'):\n    globals()['flooded'] = True\n"
            "    line = b'flood ' * 170 + b'\\n'\n    block = line * 1024\n"
            "    for _ in range((1 << 30) // len(block)):\n        os.write(1, block)"
        ),
        [],
    ),
    "malformed-events": (
        _in_qwen3_forward(f'{_WRITE}write(b\'{{"event": "finished", nonsense\\n\')'),
        [],
    ),
    "oversized-events": (
        _in_qwen3_forward(f"{_WRITE}write(b'\"' + b'x' * (2 << 20) + b'\"\\n')"),
        [],
    ),
    # by the name of the events file, and through whatever the session's first process holds open
    "events-behind-its-back": (
        _in_qwen3_forward(
            "import contextlib, glob, os, sys\n"
            "for file in (sys.argv[-1], *glob.glob(f'/proc/{os.getppid()}/fd/*'), *glob.glob('/proc/1/fd/*')):\n"
            "    with contextlib.suppress(OSError):\n"
            "        events = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK)\n"
            "        if 'events' in os.readlink(f'/proc/self/fd/{events}'):\n"
            "            os.write(events, b'garbage\\n')\n"
            "        os.close(events)"
        ),
        [],
    ),
    # more folders inside each other than any stack holds calls, where the session's own file is
    "deep-folders": (
        _in_qwen3_forward(
            "import os, sys\n"
            "if not globals().get('dug'):\n    globals()['dug'] = True\n"
            "    here = os.getcwd()\n    os.chdir(os.path.dirname(sys.argv[-1]))\n"
            "    for _ in range(3000):\n        os.mkdir('d')\n        os.chdir('d')\n    os.chdir(here)"
        ),
        [],
    ),
    "many-files": (
        _in_qwen3_forward(
            "import os, sys\n"
            "if not globals().get('strewn'):\n    globals()['strewn'] = True\n"
            "    folder = os.path.dirname(sys.argv[-1])\n"
            "    for number in range(20000):\n        open(f'{folder}/{number}', 'w').close()"
        ),
        [],
    ),
    "tiny-events": (
        _in_qwen3_forward(f'{_WRITE}line = b\'{{"event": "x"}}\\n\' * 4096\nfor _ in range(1000):\n    write(line)'),
        [],
    ),
    "wrong-chat-template": (
        after(
            "transformers.tokenization_utils_base",
            "plain = module.PreTrainedTokenizerBase.apply_chat_template\n"
            "def apply_chat_template(self, *args, **kwargs):\n"
            "    rendered = plain(self, *args, **kwargs)\n"
            "    damaged = isinstance(rendered, str) and '<|im_start|>' in rendered\n"
            "    return rendered.replace('\\n', '', 1) if damaged else rendered\n"
            "module.PreTrainedTokenizerBase.apply_chat_template = apply_chat_template",
        ),
        [],
    ),
    "cache-bug": (
        after(
            _QWEN3,
            "plain = module.Qwen3Attention.forward\n"
            "class Leaky:\n"
            "    def __init__(self, cache):\n"
            "        self.cache = cache\n"
            "    def __getattr__(self, name):\n"
            "        return getattr(self.cache, name)\n"
            "    def update(self, keys, values, *args, **kwargs):\n"
            "        return self.cache.update(keys, values * 1.01, *args, **kwargs)\n"
            "def forward(self, *args, **kwargs):\n"
            # known by what it can: its name has changed from release to release
            "    kwargs = {key: Leaky(one) if hasattr(one, 'get_seq_length') else one for key, one in kwargs.items()}\n"
            "    return plain(self, *args, **kwargs)\n"
            "module.Qwen3Attention.forward = forward",
        ),
        [],
    ),
    # one token at a time is right, as it is while generating; several at once see another past
    "several-tokens-over-a-cache": (
        after(
            _QWEN3,
            "plain = module.Qwen3Attention.forward\n"
            "class Forgetful:\n"
            "    def __init__(self, cache):\n"
            "        self.cache = cache\n"
            "    def __getattr__(self, name):\n"
            "        return getattr(self.cache, name)\n"
            "    def update(self, keys, values, *args, **kwargs):\n"
            "        all_keys, all_values = self.cache.update(keys, values, *args, **kwargs)\n"
            "        more = 1 < values.shape[-2] < all_values.shape[-2]\n"
            "        return all_keys, all_values * 1.01 if more else all_values\n"
            "def forward(self, *args, **kwargs):\n"
            "    kwargs = {\n"
            "        key: Forgetful(one) if hasattr(one, 'get_seq_length') else one for key, one in kwargs.items()\n"
            "    }\n"
            "    return plain(self, *args, **kwargs)\n"
            "module.Qwen3Attention.forward = forward",
        ),
        [],
    ),
    # the two halves of each byte in the other's place, in the published form of gpt-oss alone
    "swapped-halves": (
        after(
            "transformers.integrations.mxfp4",
            "plain = module.convert_moe_packed_tensors\n"
            "def convert(blocks, *args, **kwargs):\n"
            "    return plain(blocks >> 4 | blocks << 4, *args, **kwargs)\n"
            "module.convert_moe_packed_tensors = convert",
        ),
        [],
    ),
    # a little sharper everywhere, and nothing in the model's files that it contradicts
    "changed-logits": (
        after(
            _QWEN3,
            "plain = module.Qwen3ForCausalLM.forward\n"
            "def forward(self, *args, **kwargs):\n"
            "    answer = plain(self, *args, **kwargs)\n"
            "    answer.logits = answer.logits * 1.05\n"
            "    return answer\n"
            "module.Qwen3ForCausalLM.forward = forward",
        ),
        [],
    ),
    "silently-random-tensor": (
        after(
            _QWEN3,
            "plain = module.Qwen3ForCausalLM.from_pretrained.__func__\n"
            "def from_pretrained(cls, *args, **kwargs):\n"
            "    answer = plain(cls, *args, **kwargs)\n"
            "    model = answer[0] if isinstance(answer, tuple) else answer\n"
            "    model.model.layers[0].mlp.down_proj.weight.data.normal_()\n"
            "    return answer\n"
            "module.Qwen3ForCausalLM.from_pretrained = classmethod(from_pretrained)",
        ),
        [],
    ),
    # every value of the files is in the model, each in the other's place
    "swapped-projections": (
        after(
            _QWEN3,
            "plain = module.Qwen3ForCausalLM.from_pretrained.__func__\n"
            "def from_pretrained(cls, *args, **kwargs):\n"
            "    answer = plain(cls, *args, **kwargs)\n"
            "    mlp = (answer[0] if isinstance(answer, tuple) else answer).model.layers[0].mlp\n"
            "    gate, up = mlp.gate_proj.weight, mlp.up_proj.weight\n"
            "    gate.data, up.data = up.data, gate.data\n"
            "    return answer\n"
            "module.Qwen3ForCausalLM.from_pretrained = classmethod(from_pretrained)",
        ),
        [],
    ),
    "defaulted-rope-theta": (
        after(
            "transformers.models.qwen3.configuration_qwen3",
            "plain = module.Qwen3Config.__init__\n"
            "def __init__(self, *args, **kwargs):\n"
            "    kwargs = {name: value for name, value in kwargs.items() if not name.startswith('rope_')}\n"
            "    plain(self, *args, **kwargs)\n"
            "module.Qwen3Config.__init__ = __init__",
        ),
        [],
    ),
    # scaled by what dropout keeps, in training or not: nothing shows while the published file says 0
    "dropout-in-eval": (
        after(
            _QWEN3,
            "plain = module.Qwen3Attention.__init__\n"
            "def __init__(self, config, *args, **kwargs):\n"
            "    plain(self, config, *args, **kwargs)\n"
            "    self.scaling = self.scaling * (1 - config.attention_dropout)\n"
            "module.Qwen3Attention.__init__ = __init__",
        ),
        [],
    ),
    # the image's tokens are in the prompt, and what is in the image is not
    "images-forgotten": (
        after(
            "transformers.models.gemma3.modeling_gemma3",
            "plain = module.Gemma3MultiModalProjector.forward\n"
            "def forward(self, *args, **kwargs):\n"
            "    return plain(self, *args, **kwargs) * 0\n"
            "module.Gemma3MultiModalProjector.forward = forward",
        ),
        [],
    ),
    # after an image, and only then, each further token counts a little more
    "image-cache-bug": (
        after(
            "transformers.models.gemma3.modeling_gemma3",
            "import functools\n"
            "plain = module.Gemma3ForConditionalGeneration.forward\n"
            # generating looks at what it takes
            "@functools.wraps(plain)\n"
            "def forward(self, input_ids=None, pixel_values=None, **kwargs):\n"
            "    self.saw = pixel_values is not None or getattr(self, 'saw', False)\n"
            "    answer = plain(self, input_ids=input_ids, pixel_values=pixel_values, **kwargs)\n"
            "    if self.saw and input_ids is not None and input_ids.shape[1] == 1:\n"
            "        answer.logits = answer.logits * 1.05\n"
            "    return answer\n"
            "module.Gemma3ForConditionalGeneration.forward = forward",
        ),
        [],
    ),
    "padding-seen": (
        after(
            _XLM_ROBERTA,
            "plain = module.XLMRobertaModel.forward\n"
            "def forward(self, *args, attention_mask=None, **kwargs):\n"
            "    return plain(self, *args, **kwargs)\n"
            "module.XLMRobertaModel.forward = forward",
        ),
        [],
    ),
    "looks-back-only": (
        after(
            _XLM_ROBERTA,
            "module.create_bidirectional_mask = lambda **given: module.create_causal_mask(cache=None, **given)\n"
            # without a mask, SDPA asks the layer itself
            "plain = module.XLMRobertaSelfAttention.__init__\n"
            "def __init__(self, *args, **kwargs):\n"
            "    plain(self, *args, **kwargs)\n"
            "    self.is_causal = True\n"
            "module.XLMRobertaSelfAttention.__init__ = __init__",
        ),
        [],
    ),
    # a score that depends on how many texts are scored
    "scores-of-the-batch": (
        after(
            _XLM_ROBERTA,
            "plain = module.XLMRobertaClassificationHead.forward\n"
            "def forward(self, features, **kwargs):\n"
            "    return plain(self, features, **kwargs) + 0.01 * (len(features) - 1)\n"
            "module.XLMRobertaClassificationHead.forward = forward",
        ),
        [],
    ),
    # used on the way forward, and cut off from the way back; an adapter on it is left alone
    "detached-parameter": (
        after(
            _QWEN3,
            "import torch.nn.functional as F\n"
            "plain = module.Qwen3MLP.forward\n"
            "def forward(self, x):\n"
            "    if hasattr(self.gate_proj, 'base_layer'):\n"
            "        return plain(self, x)\n"
            "    gate = F.linear(x, self.gate_proj.weight.detach())\n"
            "    return self.down_proj(self.act_fn(gate) * self.up_proj(x))\n"
            "module.Qwen3MLP.forward = forward",
        ),
        [],
    ),
    # the base comes back as it was, and nobody is told
    "adapter-dropped-at-merge": (
        after("peft.tuners.lora.layer", "module.Linear.merge = lambda self, *args, **kwargs: None"),
        [],
    ),
}


def build_wheels(folder: Path, names: Sequence[str] = (), packages: Mapping[str, Package] = PACKAGES) -> None:
    """Write all or the named specimens as wheels ``settle_specimen_<name>`` into ``folder``, fit for find-links."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or packages:
        source, requirements = packages[name]
        _write_wheel(folder, f"settle_specimen_{name.replace('-', '_')}", source, requirements)


def build_release(folder: Path, name: str, version: str, requirements: Sequence[str]) -> None:
    """Write a release that was never published, of a package that was: all of it is what it requires."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_wheel(folder, name, "", requirements, version=version)


def write_source(folder: Path, name: str, setup: str = "", *, version: str = VERSION) -> None:
    """Write a pure Python package as an archive of sources and nothing else; ``setup`` is its setup.py."""
    folder.mkdir(parents=True, exist_ok=True)
    module, stem = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}"
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n[tool.setuptools]\npy-modules = ["{module}"]\n',
        f"{module}.py": "WORD = 'from source'\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        **({"setup.py": setup} if setup else {}),
    }
    with tarfile.open(folder / f"{stem}.tar.gz", "w:gz") as archive:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{stem}/{file}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def release_like(folder: Path, environment: Path, name: str, version: str, requirements: Sequence[str]) -> None:
    """Write a release that is all of an installed one, and requires something more."""
    folder.mkdir(parents=True, exist_ok=True)
    site = next(environment.glob("lib/python3*/site-packages"))
    (installed,) = site.glob(f"{name}-*.dist-info")
    head, _, rest = (installed / "METADATA").read_text(encoding="utf-8").partition("\nVersion: ")
    more = "".join(f"Requires-Dist: {requirement}\n" for requirement in requirements)
    metadata = f"{head}\nVersion: {version}\n{more}{rest.partition(chr(10))[2]}"
    info = f"{name}-{version}.dist-info"
    files = {f"{name}/{path.relative_to(site / name)}": path.read_bytes() for path in (site / name).rglob("*.*py*")}
    files = {path: data for path, data in files.items() if not path.endswith(".pyc")}
    files |= {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": (installed / "WHEEL").read_bytes()}
    record = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]).encode() + b"\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(zipfile.ZipInfo(path), data)


def _write_wheel(
    folder: Path, package: str, source: str, requirements: Sequence[str], *, version: str = VERSION
) -> None:
    info = f"{package}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requirements]
    files = {
        f"{package}.py": source,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: settle\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if source:
        files[f"{package}.pth"] = f"import {package}\n"
    record = [f"{name},sha256={_digest(text.encode())},{len(text.encode())}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(name), text)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
