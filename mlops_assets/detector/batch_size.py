"""How many photos a batch has where the settings leave it to the machine."""

from mlops_assets.detector.training_errors import HopelessTrainingError
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
        HopelessTrainingError: On several GPUs, which share it, it is automatic or smaller than their number.
    """
    gpus = 0 if device == "cpu" else len(device.split(","))
    if rules.batch != "auto":
        if rules.batch < gpus:
            raise HopelessTrainingError(
                f"A batch of {rules.batch} cannot be shared by {gpus} GPUs; set a multiple of them"
            )
        return rules.batch, ""
    if gpus > 1:
        raise HopelessTrainingError(
            f"Ultralytics finds the batch for one GPU only; set training.batch for {gpus} GPUs, such as {8 * gpus}"
        )
    if gpus == 0:
        return CPU_BATCH, f"Automatic batch on a CPU: {CPU_BATCH} photos, the default"
    return AUTOMATIC, "Automatic batch: as many photos as fit in 60 % of the GPU's memory, measured first"


def limited(found: int, photos: int) -> int:
    """What of a batch that fits in memory is taken, so that an epoch of so many photos has enough steps."""
    return max(1, min(found, max(CPU_BATCH, photos // FEWEST_STEPS)))
