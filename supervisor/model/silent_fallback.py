"""Whether the model, given a GPU, says in its log that it runs on the CPU: frameworks fall back in silence, and a job
that pays for a GPU then takes the CPU's time.

The signs are what each framework prints when it gives CUDA up, and nothing that it prints while it uses a GPU.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.machine.device import Device

HINT = (
    "make the image's CUDA libraries fit its framework and the host's driver (use the module's own gpu tag as the "
    "base), or set JOB_DEVICE=auto to go on with a warning"
)
_QUOTED = 300


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A line's part that gives a fallback away. source: where in the framework it is written."""

    framework: str
    pattern: re.Pattern[str]
    source: str


def _sign(framework: str, pattern: str, source: str) -> Sign:
    return Sign(framework=framework, pattern=re.compile(pattern), source=source)


# Each begins with plain letters, which a search skips to: 2 microseconds a line for all of them.
SIGNS: tuple[Sign, ...] = (
    # Not libnvinfer (TensorRT) or libcupti (the profiler), which TensorFlow misses on many a GPU that it uses.
    _sign(
        "TensorFlow",
        r"Could not (?:load dynamic|dlopen) library 'lib(?:cuda|cudart|cudnn|cublas|cublasLt|cufft|curand|cusolver"
        r"|cusparse)\.so",
        "stream_executor/platform/default/dso_loader.cc; 1.14 says dlopen",
    ),
    _sign("TensorFlow", r"Cannot dlopen some GPU libraries", "core/common_runtime/gpu/gpu_device.cc"),
    _sign("TensorFlow", r"failed call to cuInit: ", "stream_executor/cuda/cuda_driver.cc"),
    _sign(
        "TensorFlow", r"Could not find cuda drivers on your machine, GPU will not be used", "tsl/cuda/cudart_stub.cc"
    ),
    # Modules print it too, each in its own way; not where it is a condition, as in a help text.
    _sign(
        "PyTorch",
        r"C(?:UDA|uda) is not available(?<![Ii]f .{21})(?<![Ww]hen .{21})",
        "torch/cuda/amp/grad_scaler.py, torch/amp/autocast_mode.py",
    ),
    _sign("PyTorch", r"torch\.cuda\.is_available\(\) is False", "torch/serialization.py"),
    _sign("PyTorch", r"Torch not compiled with CUDA enabled", "torch/cuda/__init__.py"),
    _sign("PyTorch", r"Found no NVIDIA driver on your system", "c10/cuda/CUDAFunctions.cpp"),
    _sign(
        "PyTorch",
        r"CUDA initialization: (?:CUDA unknown error|CUDA driver initialization failed"
        r"|The NVIDIA driver on your system is too old|Unexpected error from cudaGetDeviceCount)",
        "c10/cuda/CUDAFunctions.cpp",
    ),
    _sign(
        "ONNX Runtime",
        r"'CUDAExecutionProvider' is not in available provider names",
        "capi/onnxruntime_inference_collection.py",
    ),
    _sign("ONNX Runtime", r"Failed to create CUDAExecutionProvider", "python/onnxruntime_pybind_state.cc"),
    _sign("JAX", r"No GPU/TPU found, falling back to CPU", "jax/_src/xla_bridge.py, to 0.4.10"),
    _sign("JAX", r"but a CUDA-enabled jaxlib is not installed", "jax/_src/xla_bridge.py"),
)


def sign_in(line: str) -> Sign | None:
    """The sign of a fallback that a line of a model's log holds."""
    return next((sign for sign in SIGNS if sign.pattern.search(line)), None)


class FallbackDetector:
    """Reads the model's log on its way to the job's, and remembers the first sign. On the CPU there is none to see."""

    def __init__(self, device: Device, log: Callable[[str], None]) -> None:
        self._log = log
        self._watching = device.kind == "cuda"
        self._seen: str | None = None

    def line(self, line: str) -> None:
        """Passes a line on."""
        self._log(line)
        if self._watching and (sign := sign_in(line)):
            self._watching = False
            self._seen = f"{sign.framework} has fallen back to the CPU; the model's log says: {line.strip()[:_QUOTED]}"

    def take(self) -> str | None:
        """What was seen since the last call, to be told once."""
        seen, self._seen = self._seen, None
        return seen
