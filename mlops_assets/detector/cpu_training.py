"""What makes a training on a CPU about twice as fast: channels-last memory, and bfloat16 where the CPU computes it.

Ultralytics offers both on CUDA only. Measured in `benchmarks/training.py`.
"""

from collections.abc import Callable
from typing import Any


def native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; emulated, it would be slower than single precision."""
    import torch

    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def accelerate(trainer: Any, *, bfloat16: bool) -> None:
    """Prepare a trainer, from its callback on_train_start, when the model and its moving average are built.

    The model's forward pass, loss included, runs under autocast to bfloat16, as on a GPU; weights, gradients and the
    moving average, which is what is validated and saved, stay in single precision.

    Args:
        trainer: Of Ultralytics, on a CPU.
        bfloat16: Whether to compute in bfloat16; see `native_bfloat16`.
    """
    import torch

    trainer.model.to(memory_format=torch.channels_last)
    trainer.ema.ema.to(memory_format=torch.channels_last)
    if bfloat16:
        enter, leave = _autocast_hooks()
        trainer.model.register_forward_pre_hook(enter)
        trainer.model.register_forward_hook(leave, always_call=True)


def _autocast_hooks() -> tuple[Callable[..., None], Callable[..., None]]:
    import torch

    contexts: list[Any] = []

    def enter(_model: Any, _inputs: Any) -> None:
        contexts.append(torch.autocast("cpu", torch.bfloat16))
        contexts[-1].__enter__()

    def leave(_model: Any, _inputs: Any, _outputs: Any) -> None:
        contexts.pop().__exit__(None, None, None)

    return enter, leave
