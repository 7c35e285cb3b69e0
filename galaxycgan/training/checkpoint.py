"""Checkpoints of a run: whole or absent, read without executing anything."""

import io
import pickle

import torch

from galaxycgan.errors import UserError
from galaxycgan.files.atomic import atomic_path


def save_checkpoint(path, state):
    """Write a dict of tensors, numbers and state dicts atomically."""
    buffer = io.BytesIO()  # torch's own writer says of a full disk what nobody understands
    torch.save(state, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path):
    """Read what `save_checkpoint` wrote; executes nothing."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({str(error).splitlines()[0]})") from None
