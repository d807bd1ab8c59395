"""The trainer of several GPUs on two CPU processes (gloo): what only CUDA has is left out, all else is real."""

import os
from typing import Any

import torch
from torch import distributed, nn

from mlops_assets.detector.trainer import DetectorTrainer


class TwoProcessTrainer(DetectorTrainer):
    """Rank 1 fails at `FAIL_EPOCH` where a test sets that."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.world_size = 2
        self.ddp = "LOCAL_RANK" not in os.environ

    def _setup_ddp(self) -> None:
        distributed.init_process_group("gloo", rank=int(os.environ["RANK"]), world_size=2)
        nn.parallel.DistributedDataParallel = _OnCpu  # type: ignore[misc]
        if os.environ["RANK"] == os.environ.get("OUT_OF_MEMORY_RANK"):
            self.add_callback("on_train_epoch_end", _out_of_memory)

    def final_eval(self) -> None:
        """Ultralytics asks CUDA for the device of its last validation: only what comes before is done."""
        distributed.barrier()


def _out_of_memory(trainer: Any) -> None:
    if trainer.epoch == 1:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


class _OnCpu(torch.nn.parallel.DistributedDataParallel):
    def __init__(self, module: nn.Module, device_ids: Any = None, **settings: Any) -> None:
        super().__init__(module, **settings)
