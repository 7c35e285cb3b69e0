"""Which device, precision and number of threads a job uses, and why."""

import contextlib
import ctypes
import os

import torch

from galaxycgan.errors import UserError

#: Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def set_threads(threads):
    """Use `threads` CPU threads, or one per core that this process may run on where it is 0; return the number."""
    threads = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    return threads


@contextlib.contextmanager
def one_thread():
    """Have torch use a single CPU thread, as steps of a few milliseconds want.

    Two threads wait for each other some hundred times a step: the network of `evaluation.metrics.features` learns in
    0.8 of the time on idle cores, and takes three times as long where other work is on them, too.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def reuse_memory():
    """Have the C library keep freed memory for the next step, where it is glibc; elsewhere nothing changes.

    Activations of a few MB go back to the system at each step otherwise, and come from it anew, page by page: 3,400
    page faults in a training step of `base` instead of 300, and 5 to 12% of its time (AMD EPYC, virtual machine).
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # glibc takes no more
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def repeatable():
    """Have a GPU compute a convolution the same way each time, in the precision that it is asked in."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False


def deterministic(device):
    """Have a GPU use only operations that give the same bits each time; torch refuses others by name."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
        torch.use_deterministic_algorithms(True)
        repeatable()


def choose_device(name):
    """Return the torch device for 'auto', 'cpu', 'cuda' or 'cuda:K'."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise UserError(f"--device {name}: must be auto, cpu, cuda or cuda:K")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: {torch.cuda.device_count()} CUDA devices are visible here")
    return torch.device(name)


def precision_name(dtype):
    """Return what `choose_precision` calls a dtype: 'float32', 'bfloat16'."""
    return str(dtype).removeprefix("torch.")


def choose_precision(name, device):
    """Return the dtype of convolutions and the reason for it.

    Parameters
    ----------
    name : str
        'auto', 'float32' or 'bfloat16'.
    device : torch.device
        Where it will run.
    """
    if name != "auto":
        return getattr(torch, name), "as asked"
    if device.type == "cuda":
        with torch.cuda.device(device):  # emulated it would be slower than float32
            fits = torch.cuda.is_bf16_supported(including_emulation=False)
        return (torch.bfloat16, "this GPU has bfloat16 units") if fits else (torch.float32, "this GPU has no bfloat16")
    if cpu_has_bfloat16():
        return torch.bfloat16, "this CPU has bfloat16 dot products: twice as fast"
    return torch.float32, "this CPU has no bfloat16 dot products"


def cpu_has_bfloat16():
    """Return whether the CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def autocast(device, dtype):
    """Context in which convolutions run in `dtype`."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)
