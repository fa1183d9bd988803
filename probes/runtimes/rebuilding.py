"""Makes a model of transformers again, from another configuration and on the weights of a loaded one."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager
from typing import Any


def rebuilt(module: Any, config: Any) -> Any:
    """Return a model of the configuration that shares the loaded one's tensors; raises where it has others.

    What a model computes out of its configuration when it is made (frequencies, masks, flags) is made anew.
    """
    import torch
    import transformers

    dtype = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"  # noqa: PLR2004 -- renamed
    with _uninitialised():
        other = type(module)._from_config(config, attn_implementation="eager", **{dtype: torch.float32})  # noqa: SLF001 -- from_config of the auto classes calls it
    other = other.float().eval()
    other.load_state_dict(module.state_dict(), strict=True, assign=True)
    return other


def _uninitialised() -> AbstractContextManager[Any]:
    """Return what keeps a new model from drawing weights that are replaced anyway."""
    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # before 5
        from transformers.modeling_utils import no_init_weights
    return no_init_weights()  # type: ignore[no-any-return]


def defaults(architecture: Any) -> dict[str, Any]:
    """Return the keys that a configuration's class names itself, with their defaults."""
    parameters = inspect.signature(architecture).parameters
    return {name: given.default for name, given in parameters.items() if given.default is not given.empty}
