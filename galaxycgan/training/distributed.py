"""The processes that train one network together: which one this is, what they add up.

Gradients are averaged by hand instead of by torch's DistributedDataParallel: a step takes gradients of gradients, and
of two networks in turn, which its hooks do not foresee.
"""

import contextlib
import dataclasses
import datetime
import importlib
import os

import torch
import torch.distributed as dist

from galaxycgan.errors import UserError


@dataclasses.dataclass(frozen=True)
class Team:
    """This process among those that train together; alone by default.

    Attributes
    ----------
    rank, size : int
        Number of this process from 0, and of all.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self):
        """Whether this process writes the files."""
        return self.rank == 0

    def local_slice(self, batch):
        """Return the slice of a batch of so many images that this process works on."""
        mine = batch // self.size
        return slice(self.rank * mine, (self.rank + 1) * mine)

    def average(self, tensors):
        """Replace tensors by their mean over all processes, in one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def average_gradients(self, network):
        """Average the gradients of a network's parameters."""
        if self.size > 1:
            self.average([p.grad for p in network.parameters() if p.grad is not None])

    def largest(self, *values):
        """Return the largest of each value over all processes: what one decides, all do."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=_message_device())
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tuple(tensor.tolist())

    def wait(self):
        """Wait until all processes are here."""
        self.largest(0.0)


ALONE = Team()
#: How long processes wait for each other: the first one of a job may wait half an hour for an earlier start to end.
MEETING = datetime.timedelta(minutes=40)


def _message_device():
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


@contextlib.contextmanager
def team_of(device, batch):
    """Join the processes that the environment names; without them this process trains alone.

    RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT tell, as torchrun and submitted jobs set them.

    Parameters
    ----------
    device : torch.device
        Where this process works.
    batch : int
        Images in a batch of all processes together.
    """
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield ALONE
        return
    if batch % size or batch // size < 2:
        raise UserError(f"--batch {batch}: must be a multiple of the {size} processes, with 2 images or more for each")
    if device.type == "cuda":
        torch.cuda.set_device(device)  # messages go by the current GPU, which is the first one in every process
    if "RANK" not in os.environ:
        raise UserError(f"WORLD_SIZE={size} in the environment without RANK: torchrun and submitted jobs set both")
    # Adam's first step imports it, and functions in it keep the group that there is, past its end: gloo's threads would
    # still run when the interpreter stops, and now and then abort the process.
    importlib.import_module("torch._dynamo")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=MEETING)
    try:
        yield Team(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


def device_of(name):
    """Return the device name for this process: among several on a node each takes a GPU of its own.

    LOCAL_RANK tells which, else RANK.
    """
    local = os.environ.get("LOCAL_RANK", os.environ.get("RANK") if int(os.environ.get("WORLD_SIZE", 1)) > 1 else None)
    if local is None or name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{int(local) % torch.cuda.device_count()}"
