"""All that a training needs to go on after an epoch as if nothing had happened: taken from a trainer, put into another.

Ultralytics' own last.pt is not gone on from: it keeps the optimizer's state in half precision, in which most of Adam's
second moments are 0, and of the weights only their moving average (docs/decisions.md has what that costs). When and
where a state is kept belongs in `checkpointing.py`.
"""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 1


class StateError(RuntimeError):
    """A file holds no state that a training could go on from."""


def take_state(trainer: Any, seconds: float) -> dict[str, Any]:
    """Copy what a trainer is after an epoch, to the CPU; it can be written while the training goes on.

    Args:
        trainer: Of Ultralytics, from its callback on_fit_epoch_end.
        seconds: Trained so far, by all processes that had a part in it.
    """
    from ultralytics.utils.torch_utils import unwrap_model

    return {
        "format": FORMAT,
        "epoch": trainer.epoch + 1,
        "epochs": trainer.epochs,
        "ended": bool(trainer.stop),
        "batch": trainer.batch_size,
        "nominal_batch": trainer.args.nbs,
        "seconds": seconds,
        "model": _copied(unwrap_model(trainer.model).state_dict()),
        "moving_average": _copied(trainer.ema.ema.state_dict()),
        "updates": trainer.ema.updates,
        "optimizer": _copied(trainer.optimizer.state_dict()),
        "scaler": _copied(trainer.scaler.state_dict()),
        "best_fitness": None if trainer.best_fitness is None else float(trainer.best_fitness),
        "stopper": {"best_fitness": float(trainer.stopper.best_fitness), "best_epoch": int(trainer.stopper.best_epoch)},
    }


def state_bytes(state: Mapping[str, Any]) -> bytes:
    """The state as a file of torch."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def read_state(path: Path) -> dict[str, Any]:
    """Read a state; nothing but tensors and plain values is unpickled.

    Raises:
        StateError: It is none, or has no optimizer to go on with.
        OSError: It cannot be read.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise StateError(f"{path.name} is no readable state of a training ({error})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise StateError(f"{path.name} is no state of a training that this version writes")
    return state


def restore_state(trainer: Any, state: Mapping[str, Any]) -> None:
    """Put a state into a trainer that is set up, the last thing before its first epoch.

    The number of epochs and the batch size are settings, which `training.py` takes from the state before.

    Raises:
        StateError: It is of another model.
    """
    from ultralytics.utils.torch_utils import unwrap_model

    model = unwrap_model(trainer.model)
    try:
        model.load_state_dict(state["model"])
        trainer.ema.ema.load_state_dict(state["moving_average"])
        trainer.optimizer.load_state_dict(_for_kernels_of(trainer.optimizer, state["optimizer"]))
    except (RuntimeError, ValueError, KeyError) as error:
        raise StateError(f"The checkpoint is of another model ({error})") from error
    trainer.ema.updates = state["updates"]
    trainer.scaler.load_state_dict(state["scaler"])
    trainer.best_fitness = state["best_fitness"]
    vars(trainer.stopper).update(state["stopper"])
    trainer.start_epoch = state["epoch"]
    if getattr(model.model[-1], "one2one_cv2", None) is not None:
        # The weight between the two heads' losses moves from epoch to epoch; as in BaseTrainer.resume_training.
        model.criterion = model.init_criterion()
        model.criterion.updates = state["epoch"] - 1
        model.criterion.update()


def _for_kernels_of(optimizer: Any, saved: Mapping[str, Any]) -> dict[str, Any]:
    """The device of this process, and not of the one before, says whether the optimizer is fused."""
    groups = [
        {**old, "fused": new.get("fused")}
        for old, new in zip(saved["param_groups"], optimizer.param_groups, strict=True)
    ]
    return {**saved, "param_groups": groups}


def _copied(value: Any) -> Any:
    """The same with every tensor copied to the CPU."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value
