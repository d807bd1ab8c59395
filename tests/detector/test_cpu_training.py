import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mlops_assets.detector.cpu_training import accelerate, native_bfloat16


def a_trainer() -> Any:
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=2, verbose=False)
    model.args = get_cfg()
    return SimpleNamespace(model=model, ema=SimpleNamespace(ema=copy.deepcopy(model).eval()))


def a_batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "img": torch.rand(2, 3, 64, 64),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.3], [0.3, 0.6, 0.2, 0.2], [0.6, 0.4, 0.5, 0.5]]),
    }


def loss_and_gradient(trainer: Any) -> tuple[float, torch.Tensor]:
    loss = trainer.model(a_batch())[0].sum()
    loss.backward()
    return float(loss), trainer.model.model[0].conv.weight.grad


def test_channels_last_computes_the_same() -> None:
    plain, fast = a_trainer(), a_trainer()
    accelerate(fast, bfloat16=False)
    (loss, gradient), (other, other_gradient) = loss_and_gradient(plain), loss_and_gradient(fast)
    assert other == pytest.approx(loss, rel=1e-4)
    assert torch.allclose(gradient, other_gradient, rtol=0.05, atol=0.02 * float(gradient.abs().max()))


def test_bfloat16_is_near_and_leaves_weights_and_gradients_in_single_precision() -> None:
    plain, fast = a_trainer(), a_trainer()
    accelerate(fast, bfloat16=True)
    seen = []
    fast.model.model[3].register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    (loss, _), (other, gradient) = loss_and_gradient(plain), loss_and_gradient(fast)
    assert other == pytest.approx(loss, rel=0.10)  # random weights enlarge roundings; processors differ in theirs
    assert seen == [torch.bfloat16]
    assert gradient.dtype == torch.float32
    assert {parameter.dtype for parameter in fast.model.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu"), "it ends with the forward pass"


def test_autocast_ends_when_a_forward_pass_fails() -> None:
    trainer = a_trainer()
    accelerate(trainer, bfloat16=True)
    with pytest.raises(RuntimeError):
        trainer.model(torch.rand(1, 5, 64, 64))
    assert not torch.is_autocast_enabled("cpu")


def test_what_is_validated_and_saved_knows_nothing_of_it() -> None:
    trainer = a_trainer()
    accelerate(trainer, bfloat16=True)
    assert trainer.ema.ema._forward_hooks == {}
    assert trainer.ema.ema(torch.rand(1, 3, 64, 64))[0].dtype == torch.float32


def test_bfloat16_is_asked_of_the_processor() -> None:
    found = torch.cpu.get_capabilities()
    assert native_bfloat16() == any(found.get(name) for name in ("avx512_bf16", "amx_bf16"))
