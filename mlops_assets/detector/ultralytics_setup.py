"""How this process uses Ultralytics: offline, silent, with a fixed number of threads.

Everything that imports ultralytics calls `prepare_ultralytics` or `go_offline` first. What is trained with it belongs
in `training.py`.
"""

import atexit
import logging
import os
import shutil
import sys
import tempfile
from functools import cache

_INTEGRATIONS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")


class UltralyticsSetupError(RuntimeError):
    """Ultralytics was imported in this process before it was told to stay offline."""


def prepare_ultralytics(threads: int) -> None:
    """Keep Ultralytics off the network, its own loggers off, and torch at `threads` threads, in this process.

    Checkpoints are read with `weights_only` (ULTRALYTICS_SAFE_LOAD), missing packages are never installed, and settings
    go to a folder of this process, so that parallel steps do not share one settings file.

    Args:
        threads: CPU threads, from the step's CPU limit; Ultralytics itself would take os.cpu_count() - 1, which is
            blind to a pod's limit, and set it again whenever it selects a device.

    Raises:
        UltralyticsSetupError: Something imported ultralytics earlier, and its settings no longer follow.
        ValueError: Fewer than one thread.
    """
    if threads < 1:
        raise ValueError(f"Threads must be 1 or more, got {threads}")
    go_offline()
    import torch
    import ultralytics.utils.torch_utils  # noqa: F401  (its select_device sets torch's threads)

    read_weights_only()

    for name, module in list(sys.modules.items()):
        if name.startswith("ultralytics.") and hasattr(module, "NUM_THREADS"):
            vars(module)["NUM_THREADS"] = threads  # each module copied the value when it was imported
    torch.set_num_threads(threads)


def read_weights_only() -> None:
    """Let Ultralytics read checkpoints with `weights_only` where ULTRALYTICS_SAFE_LOAD does not reach, in this process.

    `strip_optimizer` unpickles best.pt and last.pt whole when a training ends; of a resumed training they may be what
    came from the store. The environment variable is inherited by processes that Ultralytics starts (several GPUs), this
    is not: a module that they import calls it there.
    """
    from ultralytics.nn.tasks import torch_safe_load
    from ultralytics.utils import torch_utils

    def load(file: object, **_: object) -> object:
        checkpoint, _ = torch_safe_load(file, safe_only=True)
        return checkpoint

    vars(torch_utils)["torch_load"] = load


@cache
def go_offline() -> None:
    """As `prepare_ultralytics`, threads apart: enough for reading a checkpoint.

    Raises:
        UltralyticsSetupError: Something imported ultralytics earlier, and its settings no longer follow.
    """
    folder = tempfile.mkdtemp(prefix="ultralytics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(
        {
            "YOLO_CONFIG_DIR": folder,
            "YOLO_OFFLINE": "1",
            "YOLO_AUTOINSTALL": "0",
            "YOLO_VERBOSE": "0",
            "ULTRALYTICS_SAFE_LOAD": "1",
        }
    )
    from PIL import Image

    open_image = Image.open
    from ultralytics import settings, utils

    # Ultralytics replaces Pillow's opener with one that imports a HEIF plugin, so that a file that is no picture would
    # end in ModuleNotFoundError instead of Pillow's own error.
    Image.open = open_image
    if utils.AUTOINSTALL or utils.ONLINE or not utils.SAFE_LOAD:
        raise UltralyticsSetupError(
            "ultralytics was imported before go_offline turned its downloads off; call that first"
        )
    settings.update({"sync": False, **dict.fromkeys(_INTEGRATIONS, False)})
    utils.LOGGER.setLevel(logging.WARNING)
