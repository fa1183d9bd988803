"""Prompts with pictures in transformers, by the processor that the model's files name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from probes.runtimes import Pictured, UnavailableError
from probes.runtimes.traces import Forced, TorchTrace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from probes.pictures import Picture


def processor(folder: Path) -> Any:
    """Return the processor; raises UnavailableError where it stands on a package or on code that is not here."""
    import transformers

    try:
        return transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except ImportError as error:  # of torchvision there is no build beside every torch
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UnavailableError(f"the processor cannot be made here: {''.join(lines[:1])}") from error
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise UnavailableError("the processor needs code of the model's repository, which is not run") from error


def pictured(
    module: Any, made: Any, words: Sequence[str], pictures: Sequence[Picture], forced: Sequence[int]
) -> Pictured:
    """Return the answer to a prompt with a picture between each two words, or to those that ``forced`` continues."""
    import torch

    inputs = _inputs(made, words, pictures)
    ids = inputs["input_ids"][0].tolist()
    with torch.inference_mode():
        if not forced:
            return Pictured(ids, TorchTrace(module(**inputs, use_cache=False).logits[0]))
        answer = module.generate(
            **inputs, max_new_tokens=len(forced), min_new_tokens=len(forced), do_sample=False, num_beams=1,
            logits_processor=[Forced((tuple(forced),), len(ids))], return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
    return Pictured(ids, TorchTrace(torch.stack(list(answer.logits), dim=1)[0]))


def _inputs(made: Any, words: Sequence[str], pictures: Sequence[Picture]) -> Any:
    """Return what the processor makes of the prompt.

    Processors call the place of an image by one of two names; one that is not meant is refused as no place at all.
    """
    if not pictures:
        return made(text="".join(words), return_tensors="pt")
    from PIL import Image

    drawn = [Image.frombytes("RGB", (each.width, each.height), each.rgb) for each in pictures]
    marks = [getattr(made, name, None) for name in ("image_token", "boi_token")]
    for mark in dict.fromkeys(str(mark) for mark in marks if mark):
        around = [str(getattr(made, name, "") or "") for name in ("vision_start_token", "vision_end_token")]
        try:
            return made(text=mark.join(around).join(words), images=drawn, return_tensors="pt")
        except ValueError as error:
            refusal = error
    raise refusal if any(marks) else UnavailableError("the processor names no token for an image")
