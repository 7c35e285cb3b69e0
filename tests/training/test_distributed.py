"""Processes that train together learn what one alone learns."""

import dataclasses
import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from galaxycgan.config import TrainGan
from galaxycgan.context import Context
from galaxycgan.errors import UserError
from galaxycgan.training.train_gan import train_gan

BATCH, STEPS = 8, 20
#: A step a line: what `Trainer.step` reports, averaged over the processes.
WORKER = """
import json, os, sys, torch
from galaxycgan.models.generator import NetworkShape
from galaxycgan.training.adversarial import Settings, Trainer
from galaxycgan.training.distributed import team_of
torch.set_num_threads(1)
device = torch.device("cpu")
# Adam divides by the size of the gradient: in float32 rounding would grow to 1e-3 within these steps.
torch.set_default_dtype(torch.float64)
images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
labels = torch.randn(64, 2, generator=torch.Generator().manual_seed(2))
with team_of(device, BATCH) as team:
    trainer = Trainer(NetworkShape.preset("tiny", 3, 32, 2), Settings(BATCH, 6e-4, 0.3, 5), device, torch.float32, team)
    trainer.critic.standardise_on(images)
    for step in range(STEPS):
        piece = team.local_slice(BATCH)
        rows = (torch.arange(BATCH) + step * BATCH)[piece] % len(images)
        report = trainer.step(images[rows], labels[rows], 0.0)
        values = [value.reshape(1) for value in report.values()]
        team.average(values)
        if team.is_main:
            print(json.dumps({k: float(v) for k, v in zip(report, values)}))
# Threads that outlive the team abort the process now and then, as the interpreter stops.
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
assert not [name for name in names if "gloo" in name], names
""".replace("BATCH", str(BATCH)).replace("STEPS", str(STEPS))  # fmt: skip


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def together(size, command):
    """Run a command in `size` processes that find each other; return their (exit status, stdout, stderr)."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
    place |= {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            command, env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=240) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def losses(size):
    (code, out, err), *others = together(size, [sys.executable, "-c", WORKER])
    assert code == 0 and all(other[0] == 0 for other in others), err
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def test_two_processes_see_the_losses_of_one(tmp_path):
    alone, shared = losses(1), losses(2)
    assert len(alone) == len(shared) == STEPS
    for one, other in zip(alone, shared, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert other[name] == pytest.approx(one[name], rel=1e-6, abs=1e-6), name


def test_a_run_of_two_processes_leaves_one_run_directory(survey_store, tmp_path):
    options = {"preset": "tiny", "images": 48, "batch": 8, "threads": 1, "seed": 4, "precision": "float32"}
    command = [sys.executable, "-m", "galaxycgan", "train_gan", "--store", str(survey_store)]
    command += [f"--{name}={value}" for name, value in options.items()]
    first, second = together(2, [*command, "--run", str(tmp_path / "shared")])
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert "2 processes" in first[1] and not second[1]
    assert (tmp_path / "shared/metrics.jsonl").read_text().count("\n") == 1
    train_gan(TrainGan(store=str(survey_store), run=str(tmp_path / "alone"), **options), Context())
    one, other = (load_file(tmp_path / name / "generator.safetensors") for name in ("alone", "shared"))
    for name in one:  # a step of Adam is 6e-4 even where rounding decides its direction: few differ by so much
        assert (other[name] - one[name]).abs().mean() < 2e-5, name


def test_a_batch_that_cannot_be_shared_is_refused(survey_store, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    options = TrainGan(store=str(survey_store), run=str(tmp_path / "run"), batch=16)
    with pytest.raises(UserError, match="--batch 16: must be a multiple of the 3 processes"):
        train_gan(options, Context())
    assert not torch.distributed.is_initialized()
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="with 2 images or more for each"):
        train_gan(dataclasses.replace(options, batch=3), Context())
