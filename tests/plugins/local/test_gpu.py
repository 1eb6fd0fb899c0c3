import ctypes
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pynvml
import pytest

from freelane.errors import InvalidRequest
from freelane.model.job import FailureCause
from freelane.model.lifecycle import JobState
from freelane.model.resources import Accelerator, Resources
from freelane_local import gpu
from freelane_local.gpu import Card, Slots, Want

T4S = ("Tesla T4", "Tesla T4")
MIXED = ("NVIDIA A100-SXM4-80GB", "Tesla T4")


class FakeNvml:
    """The C functions of NVML that Freelane calls, as a library that the binding has loaded.

    They are real foreign functions, so the binding's own marshalling is under test.
    """

    def __init__(self, names, *, cuda=12020, error=0):
        self._names = names
        out, text = ctypes.c_void_p, ctypes.c_void_p
        unsigned = ctypes.c_uint

        def write_text(buffer, value, length):
            content = value.encode() + b"\0"
            assert len(content) <= length
            ctypes.memmove(buffer, content, len(content))
            return 0

        def write(pointer, kind, value):
            ctypes.cast(pointer, ctypes.POINTER(kind))[0] = value
            return 0

        def handle(index, pointer):
            if index >= len(names):
                return pynvml.NVML_ERROR_INVALID_ARGUMENT
            return write(pointer, ctypes.c_size_t, index + 1)

        def named(pointer, buffer, length):
            return write_text(buffer, names[pointer - 1], length)

        def uuid(pointer, buffer, length):
            return write_text(buffer, f"GPU-0000000{pointer - 1}-aaaa", length)

        functions = {
            "nvmlInitWithFlags": (lambda _: error, [unsigned]),
            "nvmlShutdown": (lambda: 0, []),
            "nvmlSystemGetCudaDriverVersion": (lambda p: write(p, ctypes.c_int, cuda), [out]),
            "nvmlSystemGetDriverVersion": (
                lambda b, n: write_text(b, "535.54", n),
                [text, unsigned],
            ),
            "nvmlDeviceGetCount_v2": (lambda p: write(p, unsigned, len(names)), [out]),
            "nvmlDeviceGetHandleByIndex_v2": (handle, [unsigned, out]),
            "nvmlDeviceGetName": (named, [out, text, unsigned]),
            "nvmlDeviceGetUUID": (uuid, [out, text, unsigned]),
        }
        for name, (function, kinds) in functions.items():
            setattr(self, name, ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(function))


@pytest.fixture
def nvml(monkeypatch):
    """Put a library with these cards where the binding looks for the driver's."""

    def install(*names, **more):
        def load(name, *_, **__):
            assert name == "libnvidia-ml.so.1"
            return FakeNvml(names, **more)

        monkeypatch.setattr(pynvml, "CDLL", load)
        monkeypatch.setattr(pynvml, "nvmlLib", None)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    return install


@pytest.fixture
def no_driver(monkeypatch):
    def load(*_, **__):
        raise OSError("no such library")

    monkeypatch.setattr(pynvml, "CDLL", load)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})


def choose(text, environ=None, **more):
    return gpu.choose(Accelerator.parse(text), environ or {}, provider="local", **more)


def resources(text):
    return Resources(accelerator=Accelerator.parse(text))


def test_the_cards_are_seen_through_the_binding(nvml):
    nvml(*MIXED)
    machine = gpu.look({})
    assert machine.cards == (
        Card(0, "GPU-00000000-aaaa", "NVIDIA A100-SXM4-80GB"),
        Card(1, "GPU-00000001-aaaa", "Tesla T4"),
    )
    assert (machine.cuda, machine.driver, machine.problem) == ((12, 2), "535.54", "")


def test_none_asks_nothing_of_the_driver(monkeypatch):
    monkeypatch.setattr(gpu, "look", None)
    assert choose("none") == Want()


@pytest.mark.parametrize(
    ("kind", "name", "fits"),
    [
        ("T4", "Tesla T4", True),
        ("t4", "Tesla T4", True),
        ("L4", "NVIDIA L40", False),
        ("A100", "NVIDIA A100-SXM4-40GB", True),
        ("A100-80GB", "NVIDIA A100-SXM4-40GB", False),
        ("RTX4090", "NVIDIA GeForce RTX 4090", True),
        ("RTX4080", "NVIDIA GeForce RTX 4090", False),
    ],
)
def test_a_kind_is_a_word_of_the_cards_name(kind, name, fits):
    assert Card(0, "GPU-0", name).is_kind(kind) is fits


def test_a_named_kind_takes_only_its_cards(nvml):
    nvml(*MIXED)
    assert choose("T4:1") == Want(1, ("GPU-00000001-aaaa",))


@pytest.mark.parametrize("text", ["1", "T4:1"])
def test_a_named_card_is_refused_without_a_driver(no_driver, text):
    with pytest.raises(InvalidRequest, match="no NVIDIA driver is installed"):
        choose(text)


def test_auto_without_a_driver_falls_back_and_says_so(no_driver):
    want = choose("auto")
    assert want.count == 0
    assert "runs on the CPU: no NVIDIA driver is installed" in want.note


def test_a_kind_that_is_not_there_is_refused_naming_what_is(nvml):
    nvml("NVIDIA A100-SXM4-80GB")
    with pytest.raises(InvalidRequest, match=r"no card here is a T4 \(NVIDIA A100"):
        choose("T4:1")


def test_more_cards_than_there_are_is_refused(nvml):
    nvml(*T4S)
    with pytest.raises(InvalidRequest, match="this machine has 2"):
        choose("3")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded"),
        (pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, "too old"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "restart the machine"),
    ],
)
def test_a_driver_that_is_not_well_is_said_in_words(nvml, error, said):
    nvml(*T4S, error=error)
    with pytest.raises(InvalidRequest, match=said):
        choose("1")


def torch(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "version.py").write_text(text)
    return folder


def test_a_torch_for_the_cpu_only_is_refused(nvml, tmp_path):
    nvml(*T4S)
    folder = torch(tmp_path / "torch", "__version__ = '2.9.0+cpu'\ncuda: Optional[str] = None\n")
    with pytest.raises(InvalidRequest, match="for the CPU only"):
        choose("1", torch_folder=folder)
    assert choose("auto", torch_folder=folder).count == 0


def test_a_driver_older_than_torch_needs_is_refused(nvml, tmp_path):
    nvml(*T4S, cuda=11040)
    folder = torch(tmp_path / "torch", "cuda: Optional[str] = '12.8'\n")
    with pytest.raises(InvalidRequest, match=r"535.54 is too old: it runs CUDA 11.4 .* 12.8"):
        choose("1", torch_folder=folder)


def test_a_torch_that_fits_is_accepted(nvml, tmp_path):
    nvml(*T4S)
    assert choose("1", torch_folder=torch(tmp_path / "torch", "cuda = '12.8'\n")).count == 1


@pytest.mark.parametrize(
    ("visible", "seen"),
    [("1", [1]), ("1,0", [1, 0]), ("GPU-00000001", [1]), ("-1,0", []), ("", []), ("7,0", [])],
)
def test_cuda_visible_devices_hides_cards_as_cuda_does(nvml, visible, seen):
    nvml(*T4S)
    machine = gpu.look({"CUDA_VISIBLE_DEVICES": visible})
    assert [card.index for card in machine.cards] == seen


def test_several_jobs_share_several_cards_and_the_next_waits(tmp_path):
    cards = ("GPU-a", "GPU-b")
    one, two, three = (Slots(tmp_path, Want(1, cards)) for _ in range(3))
    assert (one.take(), two.take(), three.take()) == (["GPU-a"], ["GPU-b"], None)
    one.close()
    assert three.take() == ["GPU-a"]
    two.close()
    three.close()


def test_who_waits_for_two_cards_is_not_passed_by_who_wants_one(tmp_path):
    cards = ("GPU-a", "GPU-b")
    running, large, small = (Slots(tmp_path, Want(count, cards)) for count in (1, 2, 1))
    assert running.take() == ["GPU-a"]
    assert large.take() is None
    assert small.take() is None
    running.close()
    assert large.take() == ["GPU-a", "GPU-b"]
    large.close()
    assert small.take() == ["GPU-a"]
    small.close()


def test_who_wants_other_cards_passes_the_queue(tmp_path):
    running, waiting = (Slots(tmp_path, Want(1, ("GPU-a",))) for _ in range(2))
    other = Slots(tmp_path, Want(1, ("GPU-b",)))
    assert running.take()
    assert waiting.take() is None
    assert other.take() == ["GPU-b"]
    for slots in (running, waiting, other):
        slots.close()


def test_a_job_that_was_killed_lets_go_of_its_card_and_its_place(tmp_path):
    code = (
        "import os; from pathlib import Path; from freelane_local.gpu import Slots, Want\n"
        "held = Slots(Path('.'), Want(1, ('GPU-a',))); assert held.take()\n"
        "queued = Slots(Path('.'), Want(1, ('GPU-a',))); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    slots = Slots(tmp_path, Want(1, ("GPU-a",)))
    assert slots.take() == ["GPU-a"]
    slots.close()


def test_a_job_waits_for_a_card_and_then_gets_it_alone(nvml, lane):
    nvml("Tesla T4")
    hold = """
        import os, time
        print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ["SM_NUM_GPUS"], flush=True)
        time.sleep(60)
        """
    first = lane.submit(hold, resources=resources("1"))
    lane.wait(first, lambda status: status.state is JobState.RUNNING)
    second = lane.submit(
        "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])", resources=resources("1")
    )
    waiting = lane.wait(second, lambda status: "waiting" in status.detail)
    assert (waiting.state, waiting.detail) == (JobState.PENDING, "waiting for 1 GPU")
    lane.wait(first, lambda _: lane.trainer.logs(first, after=None, deadline=lane.deadline()).lines)
    lane.trainer.stop(first, deadline=lane.deadline())
    assert lane.wait(second).state is JobState.SUCCEEDED
    assert lane.lines(second)[0] == "GPU-00000000-aaaa"
    assert lane.lines(first)[0] == "GPU-00000000-aaaa 1"


def test_a_job_in_the_queue_can_be_stopped(nvml, lane):
    nvml("Tesla T4")
    first = lane.submit("import time; time.sleep(60)", resources=resources("1"))
    lane.wait(first, lambda status: status.state is JobState.RUNNING)
    second = lane.submit("pass", resources=resources("auto"))
    lane.wait(second, lambda status: "waiting" in status.detail)
    lane.trainer.stop(second, deadline=lane.deadline())
    assert lane.wait(second).state is JobState.STOPPED
    lane.trainer.stop(first, deadline=lane.deadline())
    lane.wait(first)


def test_auto_says_once_in_the_log_that_it_runs_on_the_cpu(no_driver, lane):
    handle = lane.submit("print('trains')", resources=resources("auto"))
    lane.wait(handle)
    assert [line for line in lane.lines(handle) if "CPU" in line] == [
        'freelane: accelerator = "auto" runs on the CPU: no NVIDIA driver is installed'
    ]


def test_a_named_card_is_refused_before_a_job_is_made(no_driver, lane):
    with pytest.raises(InvalidRequest, match="cannot be had"):
        lane.submit("pass", resources=resources("T4:1"))
    assert not (lane.root / "jobs").exists()


def test_cuda_out_of_memory_is_out_of_memory(lane):
    status = lane.run("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')")
    assert status.cause is FailureCause.OUT_OF_MEMORY


LIBRARY = """
    #include <string.h>
    int nvmlInitWithFlags(unsigned f) { return 0; }
    int nvmlShutdown(void) { return 0; }
    int nvmlSystemGetCudaDriverVersion(int *v) { *v = 12080; return 0; }
    int nvmlSystemGetDriverVersion(char *b, unsigned n) { strncpy(b, "570.1", n); return 0; }
    int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return 0; }
    int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { *d = (void *)1; return 0; }
    int nvmlDeviceGetName(void *d, char *b, unsigned n) { strncpy(b, "NVIDIA L4", n); return 0; }
    int nvmlDeviceGetUUID(void *d, char *b, unsigned n) { strncpy(b, "GPU-c0de", n); return 0; }
    const char *nvmlErrorString(int r) { return "error"; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to make a library with")
def test_a_library_on_the_loaders_path_is_found(tmp_path):
    (tmp_path / "nvml.c").write_text(textwrap.dedent(LIBRARY))
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"], check=True)
    seen = subprocess.run(
        [sys.executable, "-c", "from freelane_local import gpu; print(gpu.look({}))"],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "name='NVIDIA L4'" in seen
    assert "cuda=(12, 8)" in seen


@pytest.mark.gpu
@pytest.mark.skipif(not Path("/dev/nvidia0").exists(), reason="no NVIDIA card stands here")
def test_the_real_driver_shows_its_cards_and_a_job_gets_one(lane):
    machine = gpu.look({})
    assert machine.problem == ""
    assert machine.cuda is not None
    handle = lane.submit(
        """
        import os, subprocess
        uuid = os.environ["CUDA_VISIBLE_DEVICES"]
        print(uuid in subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout)
        """,
        resources=resources("1"),
    )
    assert lane.wait(handle).state is JobState.SUCCEEDED
    assert lane.lines(handle) == ["True"]
