"""Lines as frameworks really print them, with and without a GPU that they use."""

import pytest

from supervisor.machine.device import Device, Gpu
from supervisor.model.silent_fallback import FallbackDetector, sign_in

CUDA = Device(kind="cuda", gpus=(Gpu(name="Tesla T4", memory=15843721216),), driver="12.4")
CPU = Device(kind="cpu")

GIVEN_UP = {
    "TensorFlow": [
        "2019-07-07 16:16:46.771379: I tensorflow/stream_executor/platform/default/dso_loader.cc:53] Could not dlopen "
        "library 'libcudart.so.10.0'; dlerror: libcudart.so.10.0: cannot open shared object file: No such file",
        "2020-08-24 11:08:28.568905: W tensorflow/stream_executor/platform/default/dso_loader.cc:59] Could not load "
        "dynamic library 'libcudnn.so.7'; dlerror: libcudnn.so.7: cannot open shared object file: No such file",
        "2020-08-24 11:08:28.568905: W tensorflow/stream_executor/platform/default/dso_loader.cc:64] Could not load "
        "dynamic library 'libcublasLt.so.11'; dlerror: libcublasLt.so.11: cannot open shared object file",
        "2020-03-09 14:02:19.250076: W tensorflow/core/common_runtime/gpu/gpu_device.cc:1592] Cannot dlopen some GPU "
        "libraries. Please make sure the missing libraries mentioned above are installed properly",
        "2019-03-21 22:15:59.118132: E tensorflow/stream_executor/cuda/cuda_driver.cc:300] failed call to cuInit: "
        "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected",
        "E0000 00:00:1775013762.112517   12260 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error",
        "I0000 00:00:1777215668.929972  450463 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU "
        "will not be used.",
    ],
    "PyTorch": [
        "UserWarning: torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
        "UserWarning: User provided device_type of 'cuda', but CUDA is not available. Disabling",
        "CUDA is not available. Predicting on the CPU ...",
        "INFO:model:Cuda is not available.",
        "RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False.",
        "AssertionError: Torch not compiled with CUDA enabled",
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
        "/opt/torch/cuda/__init__.py:52: UserWarning: CUDA initialization: Found no NVIDIA driver on your system.",
        "UserWarning: CUDA initialization: CUDA unknown error - this may be due to an incorrectly set up environment",
        "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 10010).",
        "UserWarning: CUDA initialization: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions",
    ],
    "ONNX Runtime": [
        "UserWarning: Specified provider 'CUDAExecutionProvider' is not in available provider names."
        "Available providers: 'AzureExecutionProvider, CPUExecutionProvider'",
        "[W:onnxruntime:Default, onnxruntime_pybind_state.cc:1139] Failed to create CUDAExecutionProvider. Require "
        "cuDNN 9.* and CUDA 13.*",
    ],
    "JAX": [
        "WARNING:absl:No GPU/TPU found, falling back to CPU. (Set TF_CPP_MIN_LOG_LEVEL=0 and rerun for more info.)",
        "An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not installed. Falling back to cpu",
    ],
}
IN_USE = [
    "I tensorflow/stream_executor/platform/default/dso_loader.cc:44] Successfully opened dynamic library libcudnn.so.7",
    # TensorRT and the profiler are missing from most images, whose TensorFlow uses the GPU all the same.
    "W tensorflow/stream_executor/platform/default/dso_loader.cc:64] Could not load dynamic library 'libnvinfer.so.7'; "
    "dlerror: libnvrtc.so.11.1: cannot open shared object file: No such file or directory",
    "W tensorflow/stream_executor/platform/default/dso_loader.cc:55] Could not load dynamic library 'libcupti.so.10.1'",
    "E tensorflow/stream_executor/cuda/cuda_blas.cc:2981] Unable to register cuBLAS factory: Attempting to register",
    "Created TensorFlow device (/job:localhost/replica:0/task:0/device:GPU:0 with 14198 MB memory) -> Tesla T4",
    "  --device DEVICE  where to predict (falls back to the CPU when CUDA is not available)",
    "If CUDA is not available, the CPU is used.",
    "CUDA initialization: 0.4 s",
    "UserWarning: Specified provider 'OpenVINOExecutionProvider' is not in available provider names.",
    "CUDA is available: Tesla T4",
    "",
]


@pytest.mark.parametrize(("framework", "line"), [(name, line) for name, lines in GIVEN_UP.items() for line in lines])
def test_a_framework_that_gives_the_gpu_up_is_noticed(framework: str, line: str) -> None:
    sign = sign_in(line)

    assert sign is not None
    assert sign.framework == framework


@pytest.mark.parametrize("line", IN_USE)
def test_what_is_printed_beside_a_gpu_in_use_means_nothing(line: str) -> None:
    assert sign_in(line) is None


def test_the_line_is_quoted_and_passed_on() -> None:
    passed: list[str] = []
    watch = FallbackDetector(CUDA, passed.append)

    watch.line("ready")
    watch.line("  CUDA is not available, so be patient")

    assert passed == ["ready", "  CUDA is not available, so be patient"]
    seen = "PyTorch has fallen back to the CPU; the model's log says: CUDA is not available, so be patient"
    assert watch.take() == seen


def test_a_fallback_is_told_once_however_often_it_is_printed() -> None:
    watch = FallbackDetector(CUDA, lambda line: None)
    watch.line("failed call to cuInit: CUDA_ERROR_UNKNOWN")
    watch.line("Cannot dlopen some GPU libraries.")

    assert "CUDA_ERROR_UNKNOWN" in (watch.take() or "")
    watch.line("Cannot dlopen some GPU libraries.")
    assert watch.take() is None


def test_on_the_cpu_it_is_no_fallback() -> None:
    watch = FallbackDetector(CPU, lambda line: None)
    watch.line("failed call to cuInit: CUDA_ERROR_NO_DEVICE")

    assert watch.take() is None


def test_a_long_line_is_quoted_in_part() -> None:
    watch = FallbackDetector(CUDA, lambda line: None)
    watch.line("CUDA is not available " + "x" * 8000)

    assert len(watch.take() or "") < 400
