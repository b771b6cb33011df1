"""Lines as frameworks really print them, with and without a GPU that they use."""

from collections.abc import Iterable

import pytest

from supervisor.machine.device import Device, Gpu
from supervisor.model.silent_fallback import Evidence, FallbackDetector, sign_in, words_of

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


def watch(device: Device = CUDA, *lines: str, words: Iterable[str] = ()) -> FallbackDetector:
    """One that has been told of an item, and read those lines."""
    detector = FallbackDetector(device, lambda line: None)
    detector.begin(words)
    for line in lines:
        detector.line(line)
    return detector


NOT_LOADED, LOADED = Evidence(driver=False), Evidence(driver=True)
GIVES_UP = "failed call to cuInit: CUDA_ERROR_UNKNOWN"


def test_the_line_is_quoted_and_passed_on() -> None:
    passed: list[str] = []
    detector = FallbackDetector(CUDA, passed.append)

    detector.line("ready")
    detector.line("  CUDA is not available, so be patient")

    assert passed == ["ready", "  CUDA is not available, so be patient"]
    assert detector.seen
    told = "PyTorch has fallen back to the CPU; the model's log says: CUDA is not available, so be patient"
    assert detector.verdict(NOT_LOADED) == (True, told)


def test_a_fallback_is_told_once_however_often_it_is_printed() -> None:
    detector = watch(CUDA, GIVES_UP, "Cannot dlopen some GPU libraries.")
    assert "CUDA_ERROR_UNKNOWN" in detector.verdict(NOT_LOADED)[1]
    detector.line("Cannot dlopen some GPU libraries.")
    assert not detector.seen


def test_on_the_cpu_it_is_no_fallback() -> None:
    assert not watch(CPU, GIVES_UP).seen


def test_a_long_line_is_quoted_in_part() -> None:
    assert len(watch(CUDA, "CUDA is not available " + "x" * 8000).verdict(NOT_LOADED)[1]) < 400


# A phrase is no fallback yet.


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/in/CUDA is not available.wav",
        "/data/CUDA is not available",
        "https://host/CUDA%20is%20not%20available.wav",
        "s3://bucket/CUDA is not available/1.wav",
        "s3://bucket/failed call to cuInit: 7.wav",
    ],
)
@pytest.mark.parametrize("line", ["predicting on {}", "[{}] 3 of 5", "{}.wav: done", "/tmp/x/{}"])
def test_an_items_own_name_is_no_sign(uri: str, line: str) -> None:
    names = [name for name in words_of(uri) if sign_in(name) and "/" not in name]
    assert names
    for name in names:
        assert not watch(CUDA, line.format(name), words=words_of(uri)).seen


def test_a_sign_beside_such_a_name_is_one() -> None:
    words = words_of("s3://bucket/CUDA is not available.wav")
    detector = watch(CUDA, "CUDA is not available.wav: failed call to cuInit: CUDA_ERROR_NO_DEVICE", words=words)
    assert detector.seen


def test_the_name_of_an_item_that_came_before_is_no_sign_either() -> None:
    detector = watch(CUDA, words=words_of("/in/CUDA is not available.wav"))
    detector.begin(words_of("/in/2.wav"))
    detector.line("CUDA is not available.wav took 3 s")
    assert not detector.seen


@pytest.mark.parametrize(
    ("lines", "evidence", "fallen_back"),
    [
        ([GIVES_UP], NOT_LOADED, True),
        ([GIVES_UP], LOADED, False),
        ([GIVES_UP], Evidence(), False),
        ([GIVES_UP], Evidence(driver=True, grown=0), True),
        ([GIVES_UP], Evidence(driver=True, grown=300 * 2**20), False),
        ([GIVES_UP], Evidence(driver=False, grown=300 * 2**20), True),  # another job's, on the same GPU
        ([GIVES_UP, GIVES_UP], LOADED, False),
        ([GIVES_UP, "Cannot dlopen some GPU libraries."], LOADED, True),
        ([GIVES_UP, "Cannot dlopen some GPU libraries."], Evidence(), True),
        ([GIVES_UP, "Cannot dlopen some GPU libraries."], Evidence(driver=True, grown=300 * 2**20), False),
    ],
)
def test_a_fallback_is_one_where_something_else_says_so(
    lines: list[str], evidence: Evidence, fallen_back: bool
) -> None:
    assert watch(CUDA, *lines).verdict(evidence)[0] is fallen_back


def test_what_nothing_else_bears_out_is_told_as_that() -> None:
    alone = watch(CUDA, GIVES_UP).verdict(LOADED)[1]
    assert alone.startswith(f"the model's log says: {GIVES_UP}; nothing else shows that TensorFlow has fallen back")
    used = watch(CUDA, GIVES_UP).verdict(Evidence(driver=True, grown=300 * 2**20))[1]
    assert used == f"the model's log says: {GIVES_UP}; but it uses 300 MiB on the GPU"
