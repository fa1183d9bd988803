"""Other ways to the same answer of a model of transformers: what is padded, goes on from a cache, or is looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probes.runtimes import Trace, UnavailableError
from probes.runtimes.traces import Forced, TorchTrace

_CACHES = ("cache", "past_key_values", "cache_params")  # as the forward passes of all releases name theirs


class TransformersWays:
    kinds: Sequence[str] = ("dynamic", "static", "offloaded")

    def __init__(self, module: Any, pad: int) -> None:
        self._module = module
        self._pad = pad

    def continued(self, row: Sequence[int], cuts: Sequence[int]) -> Trace:
        import torch

        pieces = []
        with torch.inference_mode():
            given = self._second_step(row[: cuts[0]], row[cuts[0]])
            name = next((name for name in _CACHES if given.get(name) is not None), "")
            if not name:
                raise UnavailableError("the second step of generating is given no cache")
            for start, stop in zip(cuts, (*cuts[1:], len(row))):
                answer = self._module(**_longer(given, row, start, stop, since=cuts[0]))
                given[name] = getattr(answer, name, None) or given[name]
                pieces.append(answer.logits[0])
        return TorchTrace(torch.cat(pieces))

    def _second_step(self, row: Sequence[int], token: int) -> dict[str, Any]:
        """Return what generating itself passes to its second step, which is not made."""
        import torch

        calls = []

        def catch(_module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            calls.append(named)
            if len(calls) > 1 and not arguments:
                raise _CaughtError

        hook = self._module.register_forward_pre_hook(catch, with_kwargs=True)
        try:
            ids = torch.tensor([list(row)])
            self._generate(ids, torch.ones_like(ids), (token, token), {})
        except _CaughtError:
            pass
        finally:
            hook.remove()
        given = calls[-1].get("input_ids")
        if len(calls) < 2 or given is None or given.shape[1] != 1:  # noqa: PLR2004 -- the second step
            raise UnavailableError("the second step of generating is given no single token")
        return calls[-1]

    def padded(self, rows: Sequence[Sequence[int]]) -> list[Trace]:
        import torch

        width = max(map(len, rows))
        ids = torch.tensor([list(row) + [self._pad] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        with torch.inference_mode():
            logits = self._module(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return [TorchTrace(logits[index, : len(row)]) for index, row in enumerate(rows)]

    def left_padded(self, row: Sequence[int], padding: int, forced: Sequence[int]) -> Trace:
        import torch

        ids = torch.tensor([[self._pad] * padding + list(row)])
        mask = torch.tensor([[0] * padding + [1] * len(row)])
        return self._generate(ids, mask, forced, {})

    def cached_as(self, kind: str, row: Sequence[int], forced: Sequence[int]) -> Trace:
        return self._alone(row, forced, {"cache_implementation": kind})

    def looked_up(self, row: Sequence[int], forced: Sequence[int]) -> Trace:
        return self._alone(row, forced, {"prompt_lookup_num_tokens": 3})

    def assisted(self, row: Sequence[int], forced: Sequence[int]) -> Trace:
        return self._alone(row, forced, {"assistant_model": self._module})

    def _alone(self, row: Sequence[int], forced: Sequence[int], options: dict[str, Any]) -> Trace:
        import torch

        ids = torch.tensor([list(row)])
        return self._generate(ids, torch.ones_like(ids), forced, options)

    def _generate(self, ids: Any, mask: Any, forced: Sequence[int], options: dict[str, Any]) -> Trace:
        import torch

        # no least number of tokens: some releases refuse it together with an assistant
        with torch.inference_mode():
            answer = self._module.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=len(forced), do_sample=False, num_beams=1,
                use_cache=True, return_dict_in_generate=True, output_logits=True, pad_token_id=self._pad,
                logits_processor=[Forced((tuple(forced),), ids.shape[1])], **options,
            )  # fmt: skip
        if len(answer.logits) < len(forced):
            raise UnavailableError("a token of ours ends this model's texts")
        return TorchTrace(torch.stack(list(answer.logits), dim=1)[0])


class _CaughtError(BaseException):
    """Ends generating before a step is made; no code in between takes it for its own error."""


def _longer(given: dict[str, Any], row: Sequence[int], start: int, stop: int, *, since: int) -> dict[str, Any]:
    """Return a step's arguments for the tokens from ``start`` to ``stop``, where it was given the one at ``since``."""
    import torch

    count = stop - start
    longer = {name: value for name, value in given.items() if name not in {"logits_to_keep", "num_logits_to_keep"}}
    for name, value in given.items():
        if not isinstance(value, torch.Tensor) or value.is_floating_point():
            continue
        if name == "input_ids":
            longer[name] = torch.tensor([list(row[start:stop])])
        elif name == "attention_mask" and value.ndim == 2:  # noqa: PLR2004 -- one row of a whole text
            longer[name] = torch.ones((1, stop), dtype=value.dtype)
        elif name in {"position_ids", "cache_position"} and value.shape[-1] == 1:
            longer[name] = value + (start - since) + torch.arange(count, dtype=value.dtype)
        elif value.ndim > 1 and value.shape[-1] == 1:
            longer[name] = value.expand(*value.shape[:-1], count)
    return longer
