"""How many photos a batch has where the settings leave it to the machine, or the memory does not hold what they say."""

from mlops_assets.detector.training_errors import HopelessTrainingError, MemoryShortageError
from mlops_assets.use_case import TrainingRules

AUTOMATIC = -1
"""Ultralytics' word for it: as many as fit in 60 % of a GPU's memory, measured (utils/autobatch.py)."""

CPU_BATCH = 8
"""The use cases' default: a CPU has no card's memory to fill, and a larger batch leaves an epoch fewer steps."""

FEWEST_STEPS = 16
"""Optimizer steps that an epoch has at the least: a large GPU would take a small dataset in one."""


def batch_for(rules: TrainingRules, device: str) -> tuple[int, str]:
    """The batch to start with, and in words where it comes from; empty where the settings name it.

    Raises:
        HopelessTrainingError: On several GPUs, which share it, it is automatic or no multiple of their number.
    """
    gpus = _processes(device)
    if rules.batch != "auto":
        if rules.batch % gpus:
            raise HopelessTrainingError(
                f"A batch of {rules.batch} cannot be shared by {gpus} GPUs; set a multiple of them"
            )
        return rules.batch, ""
    if gpus > 1:
        raise HopelessTrainingError(
            f"Ultralytics finds the batch for one GPU only; set training.batch for {gpus} GPUs, such as {8 * gpus}"
        )
    if device == "cpu":
        return CPU_BATCH, f"Automatic batch on a CPU: {CPU_BATCH} photos, the default"
    return AUTOMATIC, "Automatic batch: as many photos as fit in 60 % of the GPU's memory, measured first"


def smaller(error: MemoryShortageError, rules: TrainingRules, device: str) -> int:
    """The batch to try after one that the memory does not hold: about half, shared by all GPUs alike.

    Raises:
        HopelessTrainingError: It had no more than a photo for each GPU.
    """
    gpus = _processes(device)
    if error.batch <= gpus:
        raise HopelessTrainingError(
            f"{error}. Less than one photo{' a GPU' if gpus > 1 else ''} is impossible: lower training.image_size "
            f"({rules.image_size}), take a smaller training.architecture ({rules.architecture}), or more memory"
        ) from error
    return max(error.batch // 2 // gpus, 1) * gpus


def limited(found: int, photos: int) -> int:
    """What of a batch that fits in memory is taken, so that an epoch of so many photos has enough steps."""
    return max(1, min(found, max(CPU_BATCH, photos // FEWEST_STEPS)))


def _processes(device: str) -> int:
    """That share a batch: one a GPU."""
    return 1 if device == "cpu" else len(device.split(","))
