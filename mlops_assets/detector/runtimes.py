"""The runtimes that an exported model runs in, behind one interface: ONNX Runtime and OpenVINO, from one ONNX file.

Each has as many streams of one thread as it may use cores: photos are looked at beside each other, which on a CPU gives
more of them a second than several threads on one photo. What goes in and what is read from it is for `predictor.py`.
"""

import importlib.util
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import BoundedSemaphore
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from mlops_assets.detector.export import ExportError

Runtime: TypeAlias = Literal["onnxruntime", "openvino"]

RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)

_CUDA = "CUDAExecutionProvider"


class NetworkError(ExportError):
    """A file cannot be opened as a model; the message names it and the runtime."""


class Network(Protocol):
    """An open model. `run` may be called from several threads; as many calls as it has streams run at a time."""

    @property
    def runtime(self) -> Runtime:
        """In which it runs."""

    @property
    def description(self) -> str:
        """Runtime, version and processor, for people and metadata."""

    @property
    def properties(self) -> Mapping[str, str]:
        """What the ONNX file says of itself."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Their names, in the file's order."""

    def run(self, tensor: npt.NDArray[np.float32], outputs: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """The named outputs for a batch of inputs, as arrays of the caller's own."""


def installed_runtimes() -> tuple[Runtime, ...]:
    """Those that this environment has."""
    return tuple(name for name in RUNTIMES if importlib.util.find_spec(name) is not None)


def faster_runtime(installed: Collection[Runtime], *, cuda: bool, cpu_flags: Collection[str]) -> Runtime:
    """The one to take, by a rule: a measurement would give pods of one kind different runtimes, and other last digits.

    Args:
        installed: To choose from.
        cuda: Whether ONNX Runtime is to run on a GPU.
        cpu_flags: What the processor can, as Linux names it.

    Returns:
        On the CPU OpenVINO where it can compute in AVX-512, else ONNX Runtime, which is faster beside decoding in
        AVX2 (docs/decisions.md).
    """
    if "onnxruntime" not in installed or ("openvino" in installed and not cuda and "avx512f" in cpu_flags):
        return "openvino"
    return "onnxruntime"


@cache
def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor can, in Linux's names; empty where it does not say."""
    if not cpuinfo.is_file():
        return frozenset()
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


def open_network(path: Path, *, threads: int, device: str = "cpu", runtime: Runtime | None = None) -> Network:
    """Open an ONNX file.

    Args:
        path: Of the file.
        threads: CPU threads, and so many streams.
        device: `cpu`, else CUDA where ONNX Runtime has its provider, and the CPU where it has not.
        runtime: In which; None: the faster one, as `faster_runtime` has it.

    Raises:
        NetworkError: No ONNX file that the runtime can read, or the runtime is not installed.
    """
    if runtime is None:
        runtime = faster_runtime(installed_runtimes(), cuda=_has_cuda(device), cpu_flags=cpu_flags())
    if runtime not in installed_runtimes():
        raise NetworkError(f"{runtime} is not installed here; install the extra `serve`")
    return _OpenVino(path, threads) if runtime == "openvino" else _OnnxRuntime(path, threads, device)


def _has_cuda(device: str) -> bool:
    if device == "cpu" or "onnxruntime" not in installed_runtimes():
        return False
    import onnxruntime

    return _CUDA in onnxruntime.get_available_providers()


class _OnnxRuntime:
    runtime: Runtime = "onnxruntime"

    def __init__(self, path: Path, threads: int, device: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        providers: list[Any] = ["CPUExecutionProvider"]
        if _has_cuda(device):
            number = int(device.split(",", maxsplit=1)[0]) if device[0].isdigit() else 0
            # TF32 would round to 10 bits, and the export would no longer give what the weights give.
            providers.insert(0, (_CUDA, {"device_id": number, "use_tf32": 0}))
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except _unreadable() as error:
            raise NetworkError(f"ONNX Runtime cannot open {path}: {error}") from error
        processor = "CUDA" if _CUDA in self._session.get_providers() else "CPU"
        self.description = f"ONNX Runtime {onnxruntime.__version__} on {processor}"
        self.properties = dict(self._session.get_modelmeta().custom_metadata_map)
        self.outputs = tuple(output.name for output in self._session.get_outputs())
        self._input = self._session.get_inputs()[0].name
        self._streams = BoundedSemaphore(threads)

    def run(self, tensor: npt.NDArray[np.float32], outputs: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        with self._streams:
            found = self._session.run(list(outputs), {self._input: tensor})
        return [np.asarray(array, dtype=np.float32) for array in found]


def _unreadable() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a file that it cannot open: empty, cut off, of another kind, or ahead of it."""
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    return errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf, errors.NotImplemented


class _OpenVino:
    runtime: Runtime = "openvino"

    def __init__(self, path: Path, threads: int) -> None:
        openvino = import_openvino()
        core = openvino.Core()
        settings = {
            # Where the processor has bfloat16 or float16, OpenVINO would compute in it unasked.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            "ENABLE_CPU_PINNING": False,  # the threads that decode would have to make do with what is left
        }
        try:
            model = core.read_model(str(path))
            self._model = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise NetworkError(f"OpenVINO cannot open {path}: {error}") from error
        self.description = f"OpenVINO {openvino.__version__.split('-')[0]} on CPU"
        self.properties = _properties(model)
        self.outputs = tuple(output.any_name for output in self._model.outputs)
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(threads):
            self._idle.put(self._model.create_infer_request())

    def run(self, tensor: npt.NDArray[np.float32], outputs: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        request = self._idle.get()
        try:
            request.infer({0: np.ascontiguousarray(tensor)}, share_inputs=True, share_outputs=True)
            # Copied, since the request's memory is written to by its next use.
            return [np.array(request.get_tensor(name).data, dtype=np.float32) for name in outputs]
        finally:
            self._idle.put(request)


def _properties(model: Any) -> dict[str, str]:
    """The metadata of the ONNX file, which OpenVINO keeps by the framework that wrote it."""
    said = dict(model.get_rt_info().items())
    return {name: str(value.value) for name, value in said.get("framework", {}).items()}


def import_openvino() -> Any:
    """OpenVINO without its telemetry, which sends an event when it is imported and knows no setting against it.

    Where its package cannot be imported, OpenVINO takes a stand-in of its own that does nothing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
