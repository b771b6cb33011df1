"""Whether the model, given a GPU, says in its log that it runs on the CPU: frameworks fall back in silence, and a job
that pays for a GPU then takes the CPU's time.

The signs are what each framework prints when it gives CUDA up, and nothing that it prints while it uses a GPU.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from supervisor.machine.device import Device

HINT = (
    "make the image's CUDA libraries fit its framework and the host's driver (use the module's own gpu tag as the "
    "base), or set JOB_DEVICE=auto to go on with a warning"
)
_QUOTED = 300
# Bytes on a GPU from which on it is in use: a CUDA context alone takes 60 MiB and more.
_IN_USE = 32 * 1024 * 1024
# Items' names that hold a phrase, and are remembered: a line may be printed late.
_INNOCENT = 100


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


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a model's use of its GPUs beside its log. None: not known.

    driver: whether one of its processes has the CUDA driver library in its memory, which none does without that uses
    CUDA, and some do that have given up; grown: bytes by which the use of its GPUs has grown since before it came.
    """

    driver: bool | None = None
    grown: int | None = None


class FallbackDetector:
    """Reads a model's log on its way to the job's, and remembers the signs. On the CPU there is none to see.

    A phrase alone is no fallback: it may be an item's name, or what a model reads in it. It takes something else that
    says so.
    """

    def __init__(self, device: Device, log: Callable[[str], None]) -> None:
        self._log = log
        self._watching = device.kind == "cuda"
        self._seen: dict[Sign, str] = {}
        self._innocent: deque[str] = deque(maxlen=_INNOCENT)
        self._told = False

    def begin(self, words: Iterable[str]) -> None:
        """An item comes. words: its names and arguments, which the model may print: a phrase in them is no sign."""
        if self._watching:
            self._innocent.extend(word for word in words if word not in self._innocent and sign_in(word))

    def line(self, line: str) -> None:
        """Passes a line on."""
        self._log(line)
        if self._watching and sign_in(line) and (sign := sign_in(self._without_innocent(line))):
            self._seen.setdefault(sign, line.strip()[:_QUOTED])

    @property
    def seen(self) -> bool:
        """Whether there is a sign that `verdict` has not told."""
        return bool(self._seen) and not self._told

    def verdict(self, evidence: Evidence) -> tuple[bool, str]:
        """Whether it is a fallback by what else is known, and what there is to tell of it, once."""
        self._told, self._watching = True, False
        sign, line = next(iter(self._seen.items()))
        quoted = f"the model's log says: {line}"
        if self._confirmed(evidence):
            return True, f"{sign.framework} has fallen back to the CPU; {quoted}"
        if evidence.grown is not None and evidence.grown >= _IN_USE:
            return False, f"{quoted}; but it uses {evidence.grown // 2**20:,} MiB on the GPU"
        return (
            False,
            f"{quoted}; nothing else shows that {sign.framework} has fallen back to the CPU, so the job goes on",
        )

    def _confirmed(self, evidence: Evidence) -> bool:
        if evidence.driver is False:
            return True
        if evidence.grown is not None:
            return evidence.grown < _IN_USE
        return len(self._seen) > 1

    def _without_innocent(self, line: str) -> str:
        for word in sorted(self._innocent, key=len, reverse=True):
            line = line.replace(word, "")
        return line


def words_of(*texts: str) -> set[str]:
    """The texts and their parts, as modules print them: the names in a path or URI, with and without an extension."""
    words = set(texts)
    for text in texts:
        names = {name for part in (text, unquote(text)) for name in part.split("/")}
        words |= names | {name.rpartition(".")[0] for name in names}
    return words - {""}
