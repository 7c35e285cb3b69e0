"""Which device, precision and number of threads a job uses, and why."""

import contextlib
import os

import torch

from galaxycgan.errors import UserError


def set_threads(threads):
    """Use `threads` CPU threads, or one per core that this process may run on where it is 0; return the number."""
    threads = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    return threads


def choose_device(name):
    """Return the torch device for 'auto', 'cpu', 'cuda' or 'cuda:K'."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: must be auto, cpu, cuda or cuda:K") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: no CUDA device is visible here (torch {torch.__version__})")
    return device


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
        fits = torch.cuda.is_bf16_supported()
        return (torch.bfloat16, "this GPU has bfloat16 units") if fits else (torch.float32, "this GPU has no bfloat16")
    if cpu_has_bfloat16():
        return torch.bfloat16, "this CPU has bfloat16 dot products: twice as fast"
    return torch.float32, "this CPU has no bfloat16 dot products"


def cpu_has_bfloat16():
    """Tell whether the CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
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
