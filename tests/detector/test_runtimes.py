import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.detector import runtimes
from mlops_assets.detector.export import ExportError
from mlops_assets.detector.runtimes import RUNTIMES, NetworkError, Runtime, cpu_flags, faster_runtime, open_network

ROOT = Path(__file__).parents[2]


def batch(seed: int, rows: int = 96) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, rows, 96), dtype=np.float32)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_each_runtime_reads_the_one_file_and_names_itself(onnx_model: Path, runtime: Runtime) -> None:
    network = open_network(onnx_model, threads=1, runtime=runtime)
    assert network.runtime == runtime
    assert network.outputs == ("output0", "features")
    assert network.properties["names"] == "{0: 'c0000', 1: 'c0003'}"
    assert network.description.split(" on ")[1] == "CPU"


def test_runtimes_compute_the_same_in_single_precision(onnx_model: Path) -> None:
    networks = [open_network(onnx_model, threads=1, runtime=name) for name in RUNTIMES]
    ours, others = (network.run(batch(0), network.outputs) for network in networks)
    for one, other in zip(ours, others, strict=True):
        assert one.dtype == other.dtype == np.float32
        assert np.abs(one - other).max() < 1e-3 * np.abs(one).max()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_threads_that_look_at_other_photos_do_not_disturb_each_other(onnx_model: Path, runtime: Runtime) -> None:
    network = open_network(onnx_model, threads=2, runtime=runtime)
    alone = {seed: network.run(batch(seed, 64 + 32 * (seed % 2)), ["output0"])[0] for seed in range(4)}
    with ThreadPoolExecutor(4) as pool:  # more than there are streams
        seeds = [seed for _ in range(5) for seed in alone]
        found = list(pool.map(lambda seed: network.run(batch(seed, 64 + 32 * (seed % 2)), ["output0"])[0], seeds))
    for seed, array in zip(seeds, found, strict=True):
        assert np.allclose(array, alone[seed], atol=1e-4)
    assert not np.shares_memory(found[0], found[4])


def test_openvino_is_taken_where_its_wide_vectors_are_and_no_gpu_is() -> None:
    wide, narrow = {"avx2", "avx512f"}, {"avx2"}
    assert faster_runtime(RUNTIMES, cuda=False, cpu_flags=wide) == "openvino"
    assert faster_runtime(RUNTIMES, cuda=True, cpu_flags=wide) == "onnxruntime"
    assert faster_runtime(RUNTIMES, cuda=False, cpu_flags=narrow) == "onnxruntime"
    assert faster_runtime(["onnxruntime"], cuda=False, cpu_flags=wide) == "onnxruntime"
    assert faster_runtime(["openvino"], cuda=False, cpu_flags=narrow) == "openvino"


def test_what_the_processor_can_is_read_where_linux_says_it(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512f\n\nflags\t\t: fpu\n")
    assert cpu_flags(tmp_path / "cpuinfo") == {"fpu", "avx2", "avx512f"}
    (tmp_path / "arm").write_text("processor\t: 0\nFeatures\t: asimd\n")
    assert cpu_flags(tmp_path / "arm") == cpu_flags(tmp_path / "nowhere") == set()


def test_the_runtime_is_one_that_is_installed(onnx_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = faster_runtime(RUNTIMES, cuda=False, cpu_flags=cpu_flags())
    assert open_network(onnx_model, threads=1).runtime == expected
    assert open_network(onnx_model, threads=1, device="cuda").runtime == expected  # this ONNX Runtime has no CUDA
    monkeypatch.setattr(runtimes, "installed_runtimes", lambda: ("onnxruntime",))
    assert open_network(onnx_model, threads=1).runtime == "onnxruntime"
    with pytest.raises(NetworkError, match="openvino is not installed here"):
        open_network(onnx_model, threads=1, runtime="openvino")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_that_is_no_model_is_named(tmp_path: Path, onnx_model: Path, runtime: Runtime) -> None:
    for content in (b"", b"no model", onnx_model.read_bytes()[:20_000]):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(ExportError, match=r"cannot open .*broken\.onnx"):
            open_network(tmp_path / "broken.onnx", threads=1, runtime=runtime)


def test_openvino_neither_sends_anything_nor_keeps_an_id_of_the_machine(onnx_model: Path, tmp_path: Path) -> None:
    script = (
        "import socket, sys, threading\n"
        "from pathlib import Path\n"
        "def refuse(*_): raise SystemExit('a connection was asked for')\n"
        "socket.socket.connect = refuse\n"
        "from mlops_assets.detector.runtimes import open_network\n"
        f"open_network(Path({str(onnx_model)!r}), threads=1, runtime='openvino')\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "print('silent')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)  # noqa: PLW1510
    assert done.stdout.strip() == "silent", done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
def test_onnx_runtime_takes_cuda_where_it_has_it(onnx_model: Path) -> None:
    on_gpu, on_cpu = (open_network(onnx_model, threads=1, device=device) for device in ("cuda", "cpu"))
    assert on_gpu.description.endswith("on CUDA")
    assert np.allclose(on_gpu.run(batch(0), ["output0"])[0], on_cpu.run(batch(0), ["output0"])[0], atol=1e-2)
