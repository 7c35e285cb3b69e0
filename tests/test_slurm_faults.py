"""Faults made on purpose on a real Slurm with accounting: nothing is lost, and the end is the same bytes.

The reference is the same training undisturbed. What each fault cost is printed (pytest -s).
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import galaxycgan, running_cluster, slurm_missing, submit, until, write_survey

from galaxycgan.cluster.observe import observe
from galaxycgan.cluster.rundir import JobDirectory
from galaxycgan.files import sha256_file

MISSING = slurm_missing(accounting=True)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING or "Slurm is installed")]

#: A training of some seconds that saves all the time.
TRAINING = ["--preset=tiny", "--batch=4", "--images=720", "--precision=float32", "--threads=1", "--store=survey.h5"]


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(nodes=2, cpus=2, gpus=0, accounting=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def place(tmp_path_factory, cluster):
    """A directory with a store, a profile and a training that nothing has disturbed."""
    directory = tmp_path_factory.mktemp("faults")
    survey = write_survey(directory / "raw")
    galaxycgan("convert", *survey, "--out", "survey.h5", cwd=directory)
    (directory / "quick.toml").write_text('partition = "main"\ncpus_per_task = 1\nmem_gb = 1\n')
    told = galaxycgan("train_gan", *TRAINING, "--run", "undisturbed", cwd=directory, timeout=300)
    assert told.returncode == 0, told.stdout + told.stderr
    return directory


@pytest.fixture
def here(place, monkeypatch, cluster):
    monkeypatch.chdir(place)
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    return place


class Training:
    """A submitted training, and what is done to it."""

    def __init__(self, run):
        self.run, self.job = Path(run), JobDirectory(Path(run) / "job")

    def log(self):
        return self.job.log.read_text() if self.job.log.exists() else ""

    def saved(self):
        """Tell whether it runs and has saved something since it started."""
        path = self.run / "checkpoint.pt"
        return observe(self.job).state == "running" and path.exists() and path.stat().st_mtime > self.started()

    def started(self):
        return time.mktime(time.strptime(self.job.state()["started"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone

    def resumed(self):
        """Return the images at which it went on, in order."""
        return [int(text.replace(",", "")) for text in re.findall(r"going on at image ([\d,]+)", self.log())]

    @property
    def number(self):
        return self.job.submission()["job_id"]


def report(fault, trainings, since):
    """Print what a fault cost once its trainings go on: images to be learnt again, seconds until the first new one."""
    for training in trainings:
        seconds = time.monotonic() - since
        print(f"\n{fault}: {training.run.name} goes on at image {training.resumed()}, {seconds:.0f} s later")


def same_as_undisturbed(training):
    assert sha256_file(training.run / "generator.safetensors") == sha256_file("undisturbed/generator.safetensors")


def test_trainings_of_an_array_survive_scancel_kill_a_warning_and_a_crash_of_the_controller(here, cluster):
    words = ["train_gan", *TRAINING, "--run=array", "--profile=quick.toml"]
    words += ["--array", "checkpoint_every=0.31,0.32,0.33,0.34"]
    told = submit(*words, cwd=here)
    assert told.returncode == 0, told.stdout + told.stderr
    cancelled, killed, warned, left = (Training(f"array/checkpoint_every=0.3{k}") for k in (1, 2, 3, 4))
    for training in (cancelled, killed, warned, left):
        until(training.saved, 180)
    began = time.monotonic()
    galaxycgan("cancel", str(cancelled.run), cwd=here)
    os.kill(killed.job.state()["pid"], signal.SIGKILL)
    cluster.ask("scancel", "--signal=USR2", warned.number)
    until(lambda: observe(cancelled.job).state == "stopped" and observe(killed.job).state == "killed")
    until(warned.resumed)
    shown = galaxycgan("status", "array", cwd=here).stdout
    assert "1 stopped" in shown, shown
    assert "1 killed" in shown, shown
    cluster.stop_control()
    assert "Slurm gives no answer" in galaxycgan("status", str(warned.run), cwd=here, timeout=180).stdout
    cluster.start_control()
    until(lambda: cluster.ask("sinfo", "-h"))
    again = submit(*words, "--wait", cwd=here, timeout=300)
    assert again.returncode == 0, again.stdout + again.stderr + galaxycgan("status", "array", cwd=here).stdout
    assert "2 submitted" in again.stdout
    for fault, training, starts in (
        ("scancel", cancelled, 2), ("kill -9 of the task", killed, 2), ("USR2", warned, 2), ("slurmctld", left, 1),
    ):  # fmt: skip
        assert training.job.state()["starts"] == starts
        assert len(training.resumed()) == starts - 1
        same_as_undisturbed(training)
        report(fault, [training], began)
    assert "4 done" in galaxycgan("status", "array", cwd=here).stdout


def test_a_training_survives_the_loss_of_its_node_and_preemption(here, cluster):
    words = ["train_gan", *TRAINING, "--run=lost", "--profile=quick.toml", "--checkpoint-every=0.3"]
    assert submit(*words, cwd=here).returncode == 0
    training = Training("lost")
    until(training.saved, 120)
    node = cluster.ask("squeue", "-h", "-j", training.number, "-o", "%N").strip()
    cluster.lose_node(node)
    began = time.monotonic()
    until(lambda: len(training.resumed()) == 1, 120)
    report("node lost", [training], began)
    cluster.start_node(node)
    until(training.saved, 60)
    # the other node alone would be enough for the newcomer, which therefore wants both
    until(lambda: "idle" in cluster.ask("sinfo", "-h", "-n", node, "-o", "%t"), 60)
    began = time.monotonic()
    cluster.ask("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")
    until(lambda: len(training.resumed()) == 2, 120)
    report("preempted", [training], began)
    told = submit(*words, "--wait", cwd=here, timeout=200)
    assert told.returncode == 0, told.stdout + told.stderr
    assert training.job.state()["starts"] == 3
    assert training.job.submission()["job_id"] == training.job.state()["job_id"]
    same_as_undisturbed(training)


def test_a_catalog_is_the_same_bytes_though_its_job_was_killed(here, cluster):
    words = ["generate", "--gan=undisturbed", "--n=2000", "--threads=1", "--profile=quick.toml", "--out=catalog"]
    assert submit(*words, cwd=here).returncode == 0
    job = JobDirectory("catalog/job")
    until(lambda: job.log.exists() and "generating: " in job.log.read_text())
    os.kill(job.state()["pid"], signal.SIGKILL)
    until(lambda: observe(job).state == "killed")
    again = submit(*words, "--wait", cwd=here, timeout=200)
    assert again.returncode == 0, again.stdout + again.stderr
    options = ["--gan=undisturbed", "--n=2000", "--threads=1", "--out=whole"]
    told = subprocess.run(
        [sys.executable, "-m", "galaxycgan", "generate", *options], cwd=here, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | {"SOURCE_DATE_EPOCH": seconds(job.submission()["created"])},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    for name in ("catalog.h5", "catalog.fits"):
        same = galaxycgan("verify", "--same", f"catalog/{name}", f"whole/{name}", cwd=here)
        assert same.returncode == 0, same.stdout + same.stderr


def seconds(iso):
    """Return an ISO time as SOURCE_DATE_EPOCH wants it."""
    return str(int(time.mktime(time.strptime(iso, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone))


def test_a_full_run_directory_ends_the_job_with_words_and_room_lets_it_go_on(here):
    run = here / "small"
    run.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", run], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system of 9 MB to be had ({mounted.stderr.strip()}); to enable: run as root")
    try:
        words = ["train_gan", *TRAINING, "--run=small", "--profile=quick.toml", "--checkpoint-every=0.3"]
        told = submit(*words, "--wait", cwd=here, timeout=200)
        assert told.returncode in (1, 2), told.stdout + told.stderr
        job = JobDirectory("small/job")
        assert observe(job).state == "failed"
        assert re.search("No space left on device|MiB are free in .*small", observe(job).reason)
        subprocess.run(["mount", "-o", "remount,size=64m", run], check=True)
        again = submit(*words, "--wait", cwd=here, timeout=200)
        assert again.returncode == 0, again.stdout + again.stderr
        same_as_undisturbed(Training("small"))
    finally:
        subprocess.run(["umount", "--lazy", run], check=True)


def test_the_time_limit_is_no_end(here, cluster):
    Path("short.toml").write_text("cpus_per_task = 1\nmem_gb = 1\ntime_minutes = 2\nsignal_delay_s = 30\n")
    words = ["train_gan", "--preset=tiny", "--batch=4", "--images=100000000", "--threads=1", "--store=survey.h5"]
    words += ["--run=limit", "--profile=short.toml"]
    assert submit(*words, cwd=here).returncode == 0
    training = Training("limit")
    until(lambda: len(training.resumed()) == 1, 240)
    assert "warned of the time limit or of preemption: state saved" in training.log()
    assert galaxycgan("cancel", "limit", cwd=here).returncode == 0
    until(lambda: observe(training.job).state == "stopped")


def test_accounting_tells_of_a_job_that_the_controller_forgot(here, cluster):
    job = JobDirectory("forgotten/job")
    job.make()
    number = cluster.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap=false").strip()
    until(lambda: "FAILED" in cluster.ask("sacct", "-X", "-n", "-j", number, "-o", "State"), 30)
    since = "2026-01-01T00:00:00Z"
    job.write_submission(
        {"stage": "train_gan", "cluster": "slurm", "job_id": number, "attempt": "a", "submitted": since, "config": {}}
    )
    job.write_state({"state": "running", "attempt": "a", "starts": 1, "started": since})

    class Forgetful:
        queue = {}

        def accounted(self, number):
            return type(self).view.accounted(number)

    from galaxycgan.cluster.slurm import View

    Forgetful.view = View()
    assert observe(job, Forgetful()).reason == "Slurm says FAILED"


def test_a_limit_of_a_qos_is_told_before_anything_is_queued(here):
    Path("qos.toml").write_text('qos = "short"\ntime_minutes = 30\n')
    told = submit("train_gan", *TRAINING, "--run=qos", "--profile=qos.toml", "--check", cwd=here)
    assert told.returncode == 2, told.stdout + told.stderr
    assert "short" in told.stderr
    assert not Path("qos").exists()
