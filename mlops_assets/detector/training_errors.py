"""How a training can fail, told apart by what helps: another try, fewer photos a batch, or a person."""

from mlops_assets.detector.training_state import StateError


class TrainingError(RuntimeError):
    """A training could not be done; the message says why and what to change."""


class HopelessTrainingError(TrainingError):
    """Another try would end the same way: settings or dataset are wrong, or the training diverged."""


class MemoryShortageError(TrainingError):
    """The memory does not hold a batch; `batch` is how many photos it had."""

    def __init__(self, message: str, batch: int) -> None:
        super().__init__(message)
        self.batch = batch

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (str(self), self.batch)  # it comes from other processes


_OUT_OF_MEMORY = (
    "out of memory",  # torch.OutOfMemoryError, of CUDA
    "cublas_status_alloc_failed",
    "can't allocate memory",  # torch on a CPU
    "not enough memory",
)
_DIVERGED = ("nan persisted", "corrupted with nan", "no valid last.pt is available for recovery")
"""How Ultralytics gives up a training that it went back to its last epoch for (BaseTrainer._handle_nan_recovery)."""


def explained(error: Exception, what: str, batch: int) -> TrainingError:
    """What an exception from Ultralytics or torch means for the training.

    Args:
        error: As raised.
        what: Names the training in the message, such as the path of its data.yaml.
        batch: Photos a batch; below 1 as long as an automatic one is not measured.
    """
    if isinstance(error, TrainingError):
        return error
    if isinstance(error, StateError):
        return HopelessTrainingError(f"Training on {what}: {error}; re-execute all steps of the run, which begins anew")
    text = str(error).lower()
    if isinstance(error, RuntimeError) and any(part in text for part in _OUT_OF_MEMORY):
        first_line = str(error).splitlines()[0]
        if batch < 1:  # automatic, and not measured yet
            return TrainingError(
                f"The GPU has no room for the model itself ({first_line}); look with nvidia-smi who holds its memory"
            )
        return MemoryShortageError(f"{batch} photos a batch are too many for the memory: {first_line}", batch)
    if any(part in text for part in _DIVERGED):
        return HopelessTrainingError(
            f"Training on {what} diverged ({error}); lower the learning rate, or look for broken boxes"
        )
    if isinstance(error, ValueError | AssertionError):
        return HopelessTrainingError(f"Training on {what} failed: {error}")
    return TrainingError(f"Training on {what} failed: {error}")
