"""Compares the tensors of a loaded torch model with the bytes of its files, whatever names and fusions lie between."""

from __future__ import annotations

import mmap
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from probes.checkpoint import Tensor, tensors
from probes.runtimes import Loading
from probes.wire import part_of

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_SHOWN = 20


def reported(by_runtime: dict[str, Any]) -> Loading:
    """Return what the runtime reports of loading."""
    return Loading(
        missing=sorted(map(str, by_runtime.get("missing_keys") or ())),
        unexpected=sorted(map(str, by_runtime.get("unexpected_keys") or ())),
        mismatched=sorted(
            str(key[0] if isinstance(key, tuple) else key) for key in by_runtime.get("mismatched_keys") or ()
        ),
        lost=[],
        invented=[],
        counts={},
    )


def loading(model: Any, by_runtime: Loading, folder: Path) -> Loading:
    """Compare what the runtime reports of loading with the values themselves."""
    files = {name: _read(tensor) for name, tensor in tensors(folder).items()}
    excused = _patterns(model, "_keys_to_ignore_on_load_unexpected")
    wanted = {name: value for name, value in files.items() if not excused(name)}
    state = dict(model.state_dict())
    matched = _matched(wanted, state)
    named = sum(name == target for name, target in matched.items())
    missing = by_runtime.missing
    parameters = _untied(model, known=set(matched.values()))
    excused_missing = _patterns(model, "_keys_to_ignore_on_load_missing")
    parameters = {n: v for n, v in parameters.items() if n not in missing and not excused_missing(n)}
    # what is left over on both sides was fused, split or stacked, or is wrong
    rest = {name: value for name, value in wanted.items() if name not in matched}
    # in the model under its name with another value: where else that value is does not matter
    wrong = [name for name, value in rest.items() if name in state and state[name].shape == value.shape]
    fused = {name: value for name, value in rest.items() if name not in wrong}
    lost = wrong + _nowhere(fused, [value for name, value in state.items() if name not in matched.values()])
    invented = _nowhere(parameters, [value for name, value in files.items() if name not in matched])
    by_round_trip = 0
    if (lost or invented) and not missing:
        returned = _returned(model, files)
        came_back = [name for name in lost if name in returned]
        by_round_trip = len(came_back)
        lost = [name for name in lost if name not in returned]
        # a vector that was cut or permuted has no row to look up: its values are only counted
        made = sum(parameters[name].numel() for name in invented)
        if returned >= set(wanted) or (not lost and made == sum(files[name].numel() for name in came_back)):
            invented = []
    counts = {
        "in_files": len(files),
        "by_name": named,
        "by_content": len(wanted) - named - len(lost) - by_round_trip,
        "by_round_trip": by_round_trip,
        "ignored_by_the_runtime": len(files) - len(wanted),
    }
    return by_runtime._replace(lost=lost[:_SHOWN], invented=invented[:_SHOWN], counts=counts)


def _read(tensor: Tensor) -> Any:
    import torch

    dtype = getattr(torch, _DTYPES[tensor.dtype])
    if tensor.stop == tensor.start:
        return torch.empty(tensor.shape, dtype=dtype)
    with tensor.file.open("rb") as stream:
        # a private map: pages are read when they are compared, and writing to them would not reach the file
        pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    elements = (tensor.stop - tensor.start) // dtype.itemsize
    return torch.frombuffer(pages, dtype=dtype, count=elements, offset=tensor.start).view(tensor.shape)


def _patterns(model: Any, attribute: str) -> Any:
    """Return a test for the names that the runtime excludes by regular expressions."""
    declared = {pattern for module in model.modules() for pattern in getattr(module, attribute, None) or ()}
    expression = re.compile("|".join(f"(?:{pattern})" for pattern in sorted(declared))) if declared else None
    return lambda name: bool(expression and expression.search(name))


def _same(stored: Any, value: Any) -> bool:
    return bool(stored.shape == value.shape and (stored == value.to(stored.dtype)).all())


def _matched(wanted: dict[str, Any], state: dict[str, Any]) -> dict[str, str]:
    """Return where each tensor of the files is as a whole: under its name, or a renamed one's."""
    matched = {name: name for name, value in wanted.items() if name in state and _same(state[name], value)}
    places: dict[Any, list[str]] = {}
    for name, value in state.items():
        if name not in matched:
            places.setdefault(_mark(value), []).append(name)
    for name, value in wanted.items():
        # a tensor with its name and shape in the model is there, or nowhere
        if name not in matched and (name not in state or state[name].shape != value.shape):
            same = (target for target in places.get(_mark(value), []) if _same(state[target], value))
            target = next(same, None)
            if target is not None:
                matched[name] = target
    return matched


def _mark(value: Any) -> tuple[Any, ...]:
    """Return a cheap mark that equal tensors share, and others hardly ever; equality is compared later."""
    few = value.detach().reshape(-1)[:8].float().tolist()
    return (*value.shape, *few)


def _untied(model: Any, *, known: set[str]) -> dict[str, Any]:
    """Return the parameters not matched by name; one whose memory is a matched one's (tied) is matched with it."""
    state = dict(model.state_dict(keep_vars=True))
    matched = {state[name].data_ptr() for name in known}
    return {
        name: value.detach()
        for name, value in model.named_parameters(remove_duplicate=True)
        if value.data_ptr() not in matched and value.numel()
    }


def _nowhere(sought: dict[str, Any], stored: Iterable[Any]) -> list[str]:
    """Return the names whose values occur nowhere in ``held``: not as they are, not transposed, split or stacked."""
    import torch

    stored = list(stored)
    if not sought or not stored:
        return list(sought)
    # fusing and stacking keeps the rows of a matrix, or those of its transpose, so rows are what is looked up
    rows = torch.cat([signature for value in stored for signature in _row_signatures(value)])
    known = torch.unique(rows)
    return [
        name
        for name, value in sought.items()
        if not any(bool(torch.isin(signature, known).all()) for signature in _row_signatures(value))
    ]


def _row_signatures(value: Any) -> list[Any]:
    """Return a 64-bit hash of every row, and of every row of the transpose."""
    import torch

    matrix = value.detach().float().contiguous()
    if matrix.ndim == 0:
        matrix = matrix.view(1)
    if not matrix.numel():
        return [torch.empty(0, dtype=torch.int64)]
    squeezed = matrix.squeeze() if matrix.ndim > 2 else matrix  # noqa: PLR2004 -- a convolution's extra axis of one
    ways = [squeezed] if squeezed.ndim < 2 else [squeezed, squeezed.transpose(-1, -2)]  # noqa: PLR2004 -- a matrix
    return [_hashes(way.reshape(-1, way.shape[-1]) if way.ndim else way.view(1, 1)) for way in ways]


def _hashes(rows: Any) -> Any:
    import torch

    generator = torch.Generator().manual_seed(rows.shape[-1])
    weights = torch.randint(-(2**62), 2**62, (rows.shape[-1],), generator=generator, dtype=torch.int64)
    # + 0.0 makes one zero of the two; the products wrap, which is what a hash wants
    return ((rows + 0.0).contiguous().view(torch.int32).to(torch.int64) * weights).sum(-1)


def _returned(model: Any, files: dict[str, Any]) -> set[str]:
    """Return the names whose values come back when the runtime saves the model."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        saved = {name: _read(tensor) for name, tensor in tensors(Path(folder)).items()}
        return {name for name, value in files.items() if name in saved and _same(saved[name], value)}


def parts(model: Any) -> dict[str, int]:
    """Count elements by part, tied ones once."""
    counts: dict[str, int] = {}
    seen: set[tuple[int, int]] = set()
    for name, value in model.state_dict(keep_vars=True).items():
        target = (value.data_ptr(), value.numel())
        if value.numel() and target not in seen:
            seen.add(target)
            counts[part_of(name)] = counts.get(part_of(name), 0) + value.numel()
    return counts
