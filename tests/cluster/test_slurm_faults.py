"""Faults made on purpose on a real Slurm with accounting: nothing is lost, and the end is the same bytes.

The reference is the same training undisturbed. What each fault cost is printed (pytest -s).
"""

import concurrent.futures
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import h5py
import pytest
from slurm_cluster import galaxycgan, ranks_of, running_cluster, slurm_missing, submit, until, write_survey

from galaxycgan.cluster.observe import observe
from galaxycgan.cluster.rundir import JobDirectory
from galaxycgan.cluster.slurm import View
from galaxycgan.files.atomic import sha256_file

MISSING = slurm_missing(accounting=True)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING or "Slurm is installed")]

#: A training of 40 steps, some seconds, that saves after each.
TRAINING = ["--preset=tiny", "--batch=4", "--images=160", "--precision=float32", "--threads=1", "--store=survey.h5"]


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
    told = galaxycgan("train_gan", *TRAINING, "--run", "undisturbed", cwd=directory)
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

    def freeze(self):
        """Stop its process where it stands once it has saved something since its start.

        So faults hit a training that is under way, however quick or slow the machine is.
        """
        until(self._saved)
        os.kill(self.job.state()["pid"], signal.SIGSTOP)

    def thaw(self):
        os.kill(self.job.state()["pid"], signal.SIGCONT)

    def _saved(self):
        path = self.run / "checkpoint.pt"
        return self.job.state().get("state") == "running" and path.exists() and path.stat().st_mtime > self.started()

    def started(self):
        return time.mktime(time.strptime(self.job.state()["started"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone

    def resumed(self):
        """Return the images at which it went on, in order."""
        return [int(text.replace(",", "")) for text in re.findall(r"going on at image ([\d,]+)", self.log())]

    @property
    def number(self):
        return self.job.submission()["job_id"]


def report(fault, training, since):
    """Print what a fault cost once its training goes on."""
    print(f"\n{fault}: {training.run} went on at image {training.resumed()}, {time.monotonic() - since:.0f} s later")


def same_as_undisturbed(training):
    assert sha256_file(training.run / "generator.safetensors") == sha256_file("undisturbed/generator.safetensors")


def test_trainings_of_an_array_survive_scancel_kill_a_warning_and_a_crash_of_the_controller(here, cluster):
    words = ["train_gan", *TRAINING, "--run=array", "--profile=quick.toml"]
    words += ["--array", "checkpoint_every=0.01,0.02,0.03,0.04"]
    told = submit(*words, cwd=here)
    assert told.returncode == 0, told.stdout + told.stderr
    cancelled, killed, warned, left = (Training(f"array/checkpoint_every=0.0{k}") for k in (1, 2, 3, 4))
    freeze([cancelled, killed, warned, left])
    began = time.monotonic()
    galaxycgan("cancel", str(cancelled.run), cwd=here)
    os.kill(killed.job.state()["pid"], signal.SIGKILL)
    cluster.ask("scancel", "--signal=USR2", warned.number)
    warned.thaw()
    until(lambda: observe(cancelled.job).state == "stopped" and observe(killed.job).state == "killed")
    until(warned.resumed)
    report("USR2", warned, began)
    shown = galaxycgan("status", "array", cwd=here).stdout
    assert "1 stopped" in shown, shown
    assert "1 killed" in shown, shown
    until_remembered(cluster, warned.number)
    cluster.stop_control()
    assert "Slurm gives no answer" in galaxycgan("status", str(left.run), cwd=here).stdout
    left.thaw()
    cluster.start_control()
    until(lambda: cluster.ask("sinfo", "-h"))
    began = time.monotonic()
    again = submit(*words, "--wait", cwd=here)
    assert again.returncode == 0, again.stdout + again.stderr + galaxycgan("status", "array", cwd=here).stdout
    assert "2 submitted" in again.stdout
    for fault, training, starts in (
        ("scancel", cancelled, 2), ("kill -9 of the task", killed, 2), ("USR2", warned, 2), ("slurmctld", left, 1),
    ):  # fmt: skip
        assert training.job.state()["starts"] == starts, fault
        assert len(training.resumed()) == starts - 1, fault
        same_as_undisturbed(training)
        report(fault, training, began)
    assert "4 done" in galaxycgan("status", "array", cwd=here).stdout


def until_remembered(cluster, number):
    """Wait until slurmctld has written down that a job runs, some seconds after it began.

    One that crashes sooner starts the job again when it comes back, or knows nothing of it.
    """
    written = cluster.directory / "state" / "job_state"
    before = written.stat().st_mtime_ns
    cluster.ask("scontrol", "update", f"jobid={number}", "admincomment=written")  # so that there is something to write
    until(lambda: written.stat().st_mtime_ns != before)


def freeze(trainings):
    """Freeze each as soon as it has saved something, in whatever order they get there."""
    with concurrent.futures.ThreadPoolExecutor(len(trainings)) as pool:
        list(pool.map(Training.freeze, trainings))


def test_a_training_survives_the_loss_of_its_node_preemption_and_the_time_limit(here, cluster):
    Path("long.toml").write_text("cpus_per_task = 1\nmem_gb = 1\ntime_minutes = 60\nsignal_delay_s = 180\n")
    words = ["train_gan", *TRAINING, "--run=lost", "--profile=long.toml", "--checkpoint-every=0.01"]
    assert submit(*words, cwd=here).returncode == 0
    training = Training("lost")
    training.freeze()
    node = cluster.ask("squeue", "-h", "-j", training.number, "-o", "%N").strip()
    began = time.monotonic()
    cluster.lose_node(node)
    until(lambda: len(training.resumed()) == 1)
    report("node lost", training, began)
    cluster.start_node(node)

    training.freeze()
    node = cluster.ask("squeue", "-h", "-j", training.number, "-o", "%N").strip()
    began = time.monotonic()
    cluster.ask("sbatch", "--partition=high", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=true")
    until(lambda: len(training.resumed()) == 2)  # Slurm thaws what it tells to end
    report("preempted", training, began)

    training.freeze()
    began = time.monotonic()
    # At least two minutes from now: Slurm, which looks twice a minute, finds that it is time to warn.
    minutes = 3 + (time.time() - training.started()) // 60
    cluster.ask("scontrol", "update", f"jobid={training.number}", f"timelimit={minutes:.0f}")
    # Slurm thaws what it warns, too.
    until(lambda: "state saved, to be queued again" in training.log().rpartition("start 3")[2])
    cluster.ask("scontrol", "update", f"jobid={training.number}", "timelimit=60")
    until(lambda: len(training.resumed()) == 3)
    report("time limit", training, began)
    told = submit(*words, "--wait", cwd=here)
    assert told.returncode == 0, told.stdout + told.stderr
    assert training.job.state()["starts"] == 4
    assert training.job.submission()["job_id"] == training.job.state()["job_id"]
    same_as_undisturbed(training)
    until(lambda: "down" not in cluster.ask("sinfo", "-h", "-N", "-o", "%t"))


def test_a_training_of_two_nodes_ends_when_a_process_is_killed_and_goes_on_to_the_same_bytes(here, cluster):
    Path("two.toml").write_text("nodes = 2\ncpus_per_task = 1\nmem_gb = 1\n")
    words = ["train_gan", *TRAINING, "--profile=two.toml", "--checkpoint-every=0.01"]
    whole, killed = Training("ranks/whole"), Training("ranks/killed")
    for training in (whole, killed):
        assert submit(*words, f"--run={training.run}", cwd=here).returncode == 0
    killed.freeze()
    ranks = ranks_of(killed.number)
    assert sorted(ranks) == [0, 1]
    began = time.monotonic()
    os.kill(ranks[1], signal.SIGKILL)
    # The other process may find out first that it is alone, and then says so.
    until(lambda: observe(killed.job).state in ("killed", "failed"))
    until(lambda: not ranks_of(killed.number))
    print(f"\nkill -9 of a rank: its job ended {time.monotonic() - began:.0f} s later")
    began = time.monotonic()
    assert submit(*words, f"--run={killed.run}", cwd=here).returncode == 0
    until(killed.resumed)
    report("kill -9 of a rank", killed, began)
    for training in (whole, killed):
        told = submit(*words, f"--run={training.run}", "--wait", cwd=here)
        assert told.returncode == 0, told.stdout + told.stderr
    assert "2 processes" in killed.log()
    assert (len(whole.resumed()), len(killed.resumed())) == (0, 1)
    assert sha256_file(killed.run / "generator.safetensors") == sha256_file(whole.run / "generator.safetensors")


def test_a_catalog_is_the_same_bytes_though_a_shards_job_was_killed(here, cluster):
    options = ["--gan=undisturbed", "--n=2048", "--threads=1"]
    words = ["generate", *options, "--profile=quick.toml", "--out=catalog", "--shards=2"]
    shards = [*words, "--array", "shard=0,1"]
    assert submit(*shards, cwd=here).returncode == 0
    first, second = (JobDirectory(f"catalog/job/shard={k}") for k in (0, 1))
    until(lambda: second.log.exists() and "generating: " in second.log.read_text())
    os.kill(second.state()["pid"], signal.SIGKILL)
    until(lambda: observe(second).state == "killed")
    again = submit(*shards, "--wait", cwd=here)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (first.state()["starts"], second.state()["starts"]) == (1, 2)
    merged = submit(*words, "--merge", "--wait", cwd=here)
    assert merged.returncode == 0, merged.stdout + merged.stderr
    assert not list(Path("catalog/shards").glob("*.h5"))
    assert "2 done already" in submit(*shards, cwd=here).stdout
    with h5py.File("catalog/catalog.h5") as file:
        created = file.attrs["created"]
    told = galaxycgan(
        "generate", *options, "--out=whole", cwd=here, environment={"SOURCE_DATE_EPOCH": seconds(created)}
    )
    assert told.returncode == 0, told.stderr
    for name in ("catalog.h5", "catalog.fits"):
        assert sha256_file(f"catalog/{name}") == sha256_file(f"whole/{name}")


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
        words = ["train_gan", *TRAINING, "--run=small", "--profile=quick.toml", "--checkpoint-every=0.01"]
        told = submit(*words, "--wait", cwd=here)
        assert told.returncode in (1, 2), told.stdout + told.stderr
        job = JobDirectory("small/job")
        assert observe(job).state == "failed"
        assert re.search("No space left on device|MiB are free in .*small", observe(job).reason)
        subprocess.run(["mount", "-o", "remount,size=64m", run], check=True)
        again = submit(*words, "--wait", cwd=here)
        assert again.returncode == 0, again.stdout + again.stderr
        same_as_undisturbed(Training("small"))
    finally:
        subprocess.run(["umount", "--lazy", run], check=True)


def test_accounting_tells_of_a_job_that_the_controller_forgot(here, cluster):
    job = JobDirectory("forgotten/job")
    job.make()
    number = cluster.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap=false").strip()
    until(lambda: "FAILED" in cluster.ask("sacct", "-X", "-n", "-j", number, "-o", "State"))
    since = "2026-01-01T00:00:00Z"
    job.write_submission(
        {"stage": "train_gan", "cluster": "slurm", "job_id": number, "attempt": "a", "submitted": since, "config": {}}
    )
    job.write_state({"state": "running", "attempt": "a", "starts": 1, "started": since})

    class Forgetful(View):
        def queue(self, clusters):
            return {}

    assert observe(job, Forgetful()).reason == "Slurm says FAILED"


def test_jobs_of_a_cluster_that_has_to_be_named_are_followed_and_cancelled_there(here, cluster):
    name = cluster.ask("sacctmgr", "-n", "-P", "list", "cluster", "format=Cluster").strip()
    Path("named.toml").write_text(f'clusters = "{name}"\n[additional]\nbegin = "now+1hour"\n')
    told = submit("train_gan", *TRAINING, "--run=named", "--profile=named.toml", cwd=here)
    assert told.returncode == 0, told.stdout + told.stderr
    job = JobDirectory("named/job")
    assert job.submission()["clusters"] == name
    until(lambda: "BeginTime" in observe(job).reason)
    assert galaxycgan("cancel", "named", cwd=here).returncode == 0
    until(lambda: observe(job).state == "stopped")
    Path("wrong.toml").write_text('clusters = "nowhere"\n')
    told = submit("train_gan", *TRAINING, "--run=wrong", "--profile=wrong.toml", "--cluster=slurm", cwd=here)
    assert told.returncode == 2
    assert not Path("wrong").exists()


def test_a_limit_of_a_qos_is_told_before_anything_is_queued(here):
    Path("qos.toml").write_text('qos = "short"\ntime_minutes = 30\n')
    told = submit("train_gan", *TRAINING, "--run=qos", "--profile=qos.toml", "--check", cwd=here)
    assert told.returncode == 2, told.stdout + told.stderr
    assert "short" in told.stderr
    assert not Path("qos").exists()
