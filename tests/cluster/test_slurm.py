"""python -m galaxycgan.submit on a real Slurm, which these tests bring up on this machine and take down again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_cluster import (
    PATIENCE_S,
    ROOT,
    galaxycgan,
    ranks_of,
    running_cluster,
    slurm_missing,
    submit,
    until,
    usr2_among,
    write_survey,
)

from galaxycgan.cli import build_parser
from galaxycgan.cluster.observe import observe
from galaxycgan.cluster.rundir import JobDirectory
from galaxycgan.config import COMMANDS

pytestmark = pytest.mark.skipif(bool(slurm_missing()), reason=slurm_missing() or "Slurm is installed")


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(nodes=2, cpus=2, gpus=1, max_array=3) as cluster:
        yield cluster


@pytest.fixture
def here(tmp_path, monkeypatch, cluster):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    Path("quick.toml").write_text('partition = "main"\ncpus_per_task = 2\nmem_gb = 2\n')
    return tmp_path


@pytest.fixture
def survey(here):
    return write_survey(here / "raw")


def test_auto_takes_slurm_where_it_answers_and_wait_returns_when_the_store_is_there(here, survey, cluster):
    told = submit("convert", *survey, "--profile", "quick.toml", "--wait", cwd=here)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "submitted to slurm (sinfo names a partition): job " in told.stdout
    assert "done: catalogs/survey.h5" in told.stdout
    assert "2 cores" in told.stdout
    job = JobDirectory("catalogs/survey.h5.job")
    assert job.path.stat().st_mode & 0o077 == 0
    assert job.state()["job_id"] == job.submission()["job_id"]
    assert observe(job).state == "done"
    again = submit("convert", *survey, "--profile", "quick.toml", cwd=here)
    assert "done already" in again.stdout
    assert "convert  done" in galaxycgan("status", cwd=here).stdout
    script = next(job.path.glob("slurm/*/*_submission.sh")).read_text()
    assert "--cpus-per-task=2 " in next(line for line in script.splitlines() if line.startswith("srun"))
    assert "wckey" not in script


def test_a_users_mistake_comes_back_as_one_line_and_exit_code_2(here, survey, cluster):
    told = submit("convert", *survey, "--labels", "nothing", "--profile", "quick.toml", "--wait", cwd=here)
    assert told.returncode == 2
    assert "nothing" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert "Traceback" not in told.stdout
    job_id = JobDirectory("catalogs/survey.h5.job").state()["job_id"]
    until(lambda: "2:0" in cluster.ask("scontrol", "show", "job", job_id))


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ('partition = "nonsense"', "invalid partition"),
        ('constraint = "a100"', "invalid feature"),
        ("mem_gb = 4000", "mem_gb = 4000: 0 of 2 nodes of partition main have that"),
    ],
)
def test_what_sbatch_refuses_is_told_in_its_words_and_leaves_nothing(here, survey, profile, words):
    Path("bad.toml").write_text(profile)
    told = submit("convert", *survey, "--profile", "bad.toml", "--cluster", "slurm", cwd=here)
    assert told.returncode == 2
    assert words in told.stderr.lower()
    assert "bad.toml" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert not Path("catalogs").exists()


def test_a_job_that_waits_says_why_and_can_be_cancelled(here, survey):
    Path("later.toml").write_text('[additional]\nbegin = "now+1hour"\n')
    assert submit("convert", *survey, "--profile", "later.toml", cwd=here).returncode == 0
    job = JobDirectory("catalogs/survey.h5.job")
    until(lambda: "BeginTime" in observe(job).reason)
    assert "waits: BeginTime" in galaxycgan("status", "catalogs/survey.h5", cwd=here).stdout
    assert "nothing yet: pending" in galaxycgan("logs", "catalogs/survey.h5", cwd=here).stdout
    assert "pending already" in submit("convert", *survey, "--profile", "later.toml", cwd=here).stdout
    assert galaxycgan("cancel", "catalogs/survey.h5", cwd=here).returncode == 0
    until(lambda: observe(job).state == "stopped")
    resumed = submit("convert", *survey, "--profile", "quick.toml", "--wait", cwd=here)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr


@pytest.mark.slow
def test_a_training_goes_on_in_the_queue_though_slurms_warning_comes_while_python_imports(here, survey, cluster):
    assert submit("convert", *survey, "--cluster", "debug", cwd=here).returncode == 0
    words = ["train_gan", "--preset=tiny", "--batch=8", "--images=10000000", "--run=runs/a", "--threads=1"]
    assert submit(*words, "--profile", "quick.toml", cwd=here).returncode == 0
    job = JobDirectory("runs/a/job")
    job_id = job.submission()["job_id"]
    pid = until(lambda: ranks_of(job_id).get(0))
    until(lambda: usr2_among(pid, "SigBlk") or job.state()["state"] == "running")
    cluster.ask("scancel", "--signal=USR2", job_id)
    # The first start may have got as far before it heard of the warning.
    until(lambda: job.log.exists() and "training galaxies" in job.log.read_text().partition("start 2 ---")[2])
    assert (observe(job).state, observe(job).restarts) == ("running", 1)
    assert job.state()["job_id"] == job_id
    assert "warned of the time limit" in job.log.read_text()
    galaxycgan("cancel", "runs/a", cwd=here)
    until(lambda: observe(job).state == "stopped")


def test_a_job_without_slurms_commands_has_its_batch_script_queue_it_again(here, survey):
    assert submit("convert", *survey, "--cluster", "debug", cwd=here).returncode == 0
    Path("box.toml").write_text(f'python = "env PATH=/nowhere {sys.executable}"\n')  # as in a container
    words = ["train_gan", "--preset=tiny", "--batch=8", "--images=10000000", "--run=runs/b", "--threads=1"]
    assert submit(*words, "--profile", "box.toml", cwd=here).returncode == 0
    job = JobDirectory("runs/b/job")
    pid = until(lambda: ranks_of(job.submission()["job_id"]).get(0))
    until(lambda: Path("runs/b/metrics.jsonl").exists())
    os.kill(pid, signal.SIGUSR2)
    until(lambda: "start 2 ---" in job.log.read_text())
    until(lambda: (observe(job).state, observe(job).restarts) == ("running", 1))  # which is noted after that line
    galaxycgan("cancel", "runs/b", cwd=here)
    until(lambda: observe(job).state == "stopped")


@pytest.mark.slow
def test_an_array_is_split_over_the_clusters_limit_and_again_submits_only_what_failed(here, survey, cluster):
    words = ["convert", *survey, "--profile", "quick.toml", "--array", "duplicates=nearest,first,massive,error"]
    first = submit(*words, "--max-jobs", "2", cwd=here)
    assert "4 submitted to slurm" in first.stdout, first.stdout + first.stderr
    jobs = [
        JobDirectory(f"catalogs/survey/duplicates={name}.h5.job") for name in ("nearest", "first", "massive", "error")
    ]
    arrays = [job.submission()["job_id"].partition("_")[0] for job in jobs]
    assert len(set(arrays)) == 2  # MaxArraySize of this cluster is 3
    shown = cluster.ask("scontrol", "-o", "show", "job", arrays[0])
    assert "ArrayTaskThrottle=1" in shown  # half of --max-jobs for each of the two arrays
    assert submit(*words, "--wait", cwd=here).returncode == 0
    assert [observe(job).state for job in jobs] == ["done"] * 4
    Path("catalogs/survey/duplicates=first.h5").unlink()
    again = submit(*words, "--wait", cwd=here)
    assert "3 done already, 1 submitted" in again.stdout
    assert "4 of 4 done" in again.stdout
    assert "start 2 ---" in jobs[1].log.read_text()
    assert "4 done" in galaxycgan("status", "catalogs/survey", cwd=here).stdout


@pytest.mark.slow
def test_a_pipeline_waits_in_the_queue_and_a_failed_parent_cancels_its_children(here, survey, cluster):
    files = "\n".join(f'{key[2:]} = "{value}"' for key, value in zip(survey[2::2], survey[3::2], strict=True))
    recipe = (
        f'[pipeline]\nprofile = "quick.toml"\n[convert]\nbands = "g,r,i"\n{files}\nlabels = "LABELS"\n'
        '[train_gan]\nstore = "@convert"\npreset = "tiny"\nbatch = 4\nimages = 8\nthreads = 1\n'
        '[generate]\ngan = "@train_gan"\nn = 3\nthreads = 1\n'
    )
    Path("p.toml").write_text(recipe.replace("LABELS", "nothing"))
    told = submit("pipeline", "--recipe", "p.toml", "--wait", cwd=here)
    assert told.returncode == 2, told.stdout + told.stderr
    shown = galaxycgan("status", "runs/p", cwd=here).stdout
    assert "1 failed, 2 stopped" in shown
    assert "cancelled, for convert is failed" in shown
    assert "cancelled, for train_gan" in shown
    Path("p.toml").write_text(recipe.replace("LABELS", "photo_z,log_mass"))
    again = submit("pipeline", "--recipe", "p.toml", "--overwrite", "--wait", cwd=here)
    assert again.returncode == 0, again.stdout + again.stderr
    job = JobDirectory("runs/p/generate/job")
    script = next(job.path.parent.parent.glob(f"pipeline/slurm/{job.submission()['job_id']}/*.sh")).read_text()
    assert f"--dependency=afterok:{JobDirectory('runs/p/train_gan/job').submission()['job_id']}" in script
    assert "--kill-on-invalid-dep=yes" in script
    assert Path("runs/p/generate/catalog.fits").exists()


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ('partition = "high"\ntime_minutes = 100', "partition high allows 60 (PartitionTimeLimit)"),
        ("cpus_per_task = 64", "cpus_per_task x tasks_per_node = 64: 0 of 2 nodes"),
        ("gpus_per_node = 3", "gpus_per_node = 3: 0 of 2 nodes"),
        ('partition = "nonsense"', "invalid partition"),
        ('partition = "main"', ""),
    ],
)
def test_check_tells_what_slurm_would_refuse_and_what_would_wait_for_ever(here, survey, cluster, profile, words):
    Path("p.toml").write_text(profile)
    told = submit("convert", *survey, "--profile", "p.toml", "--cluster", "slurm", "--check", cwd=here)
    assert told.returncode == (2 if words else 0), told.stdout + told.stderr
    assert words.lower() in told.stderr.lower()
    assert words or "p.toml: Slurm takes it" in told.stdout
    assert not Path("catalogs").exists()
    assert "convert" not in cluster.ask("squeue", "-h", "-o", "%j")


def test_nodes_that_are_away_are_told_of_and_the_job_is_queued_all_the_same(here, survey, cluster):
    nodes = "nodename=127.0.0.2,127.0.0.3"
    cluster.ask("scontrol", "update", nodes, "state=drain", "reason=test")
    try:
        told = submit("convert", *survey, "--profile", "quick.toml", cwd=here)
        assert told.returncode == 0, told.stderr
        assert "all nodes of partition main are drain" in told.stdout
        assert galaxycgan("cancel", "catalogs/survey.h5", cwd=here).returncode == 0
    finally:
        cluster.ask("scontrol", "update", nodes, "state=resume")


def test_a_job_pinned_to_fewer_cores_than_it_asked_for_refuses_to_start(here, survey):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has one core")
    Path("p.toml").write_text(f'cpus_per_task = 2\npython = "taskset -c 0 {sys.executable}"\n')
    told = submit("convert", *survey, "--profile", "p.toml", "--wait", cwd=here)
    assert told.returncode == 2
    assert "pinned to 1 of" in told.stderr


def test_a_job_sees_the_gpus_that_slurm_gave_it(here, survey):
    Path("p.toml").write_text("gpus_per_node = 1\n")
    told = submit("convert", *survey, "--profile", "p.toml", "--wait", cwd=here)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "CUDA_VISIBLE_DEVICES=0" in told.stdout
    assert JobDirectory("catalogs/survey.h5.job").starts()[0]["devices"] == "CUDA_VISIBLE_DEVICES=0"


@pytest.mark.parametrize(
    ("script", "words", "command"),
    [
        ("train_gan_array", ["s.h5", "runs/seeds", "--images", "64"], "train_gan"),
        ("generate_array", ["runs/train_gan", "demo", "deep"], "generate"),
    ],
)
def test_the_plain_sbatch_arrays_call_commands_that_exist(here, script, words, command):
    asked = ["sbatch", "--wait", "--array=0-1", "--mem=100M", "--cpus-per-task=1", f"{ROOT}/slurm/{script}.sbatch"]
    echo = ["env", "PYTHON=echo", *asked, *words]
    told = subprocess.run(echo, capture_output=True, text=True, timeout=PATIENCE_S, cwd=here)
    assert told.returncode == 0, told.stderr
    logs = [path.read_text() for path in sorted(here.glob(f"{command}-*.log"), key=lambda path: path.stem)]
    assert len(logs) == 2
    for text in logs:
        said = text.strip().splitlines()[-1].split()
        assert said[:3] == ["-u", "-m", "galaxycgan"]
        values = build_parser("galaxycgan", "", COMMANDS).parse_args(said[3:])
        assert values.command == command
    assert logs[0] != logs[1]
