"""python -m galaxycgan.submit on a real Slurm, which these tests bring up on this machine and take down again."""

import subprocess
import time
from pathlib import Path

import pytest
from slurm_cluster import ROOT, galaxycgan, running_cluster, slurm_missing, submit, write_survey

from galaxycgan.cli import build_parser
from galaxycgan.cluster.observe import observe
from galaxycgan.cluster.rundir import JobDirectory
from galaxycgan.config import COMMANDS

pytestmark = pytest.mark.skipif(bool(slurm_missing()), reason=slurm_missing() or "Slurm is installed")


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(nodes=2, cpus=2, gpus=1) as cluster:
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


def until(question, patience_s=60):
    """Wait until a question is answered with yes."""
    end = time.monotonic() + patience_s
    while not question():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


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
    assert "--cpus-per-task=2 " in script.splitlines()[-1]
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
        ("mem_gb = 4000", "memory"),
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
def test_a_training_goes_on_in_the_queue_after_slurms_warning_and_after_preemption(here, survey, cluster):
    assert submit("convert", *survey, "--cluster", "debug", cwd=here).returncode == 0
    words = ["train_gan", "--preset=tiny", "--batch=8", "--images=10000000", "--run=runs/a", "--threads=1"]
    assert submit(*words, "--profile", "quick.toml", cwd=here).returncode == 0
    job = JobDirectory("runs/a/job")
    until(lambda: "training galaxies" in (job.log.read_text() if job.log.exists() else ""))
    job_id = job.submission()["job_id"]
    cluster.ask("scancel", "--signal=USR2", job_id)
    until(lambda: job.log.read_text().count("going on at image") == 1)
    assert (observe(job).state, observe(job).restarts) == ("running", 1)
    cluster.ask("sbatch", "--partition=high", "--nodes=2", "--cpus-per-task=2", "--output=/dev/null", "--wrap=true")
    until(lambda: job.log.read_text().count("going on at image") == 2)
    assert (observe(job).state, observe(job).restarts) == ("running", 2)
    assert job.state()["job_id"] == job_id
    galaxycgan("cancel", "runs/a", cwd=here)
    until(lambda: observe(job).state == "stopped")


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
    told = subprocess.run(echo, capture_output=True, text=True, timeout=60, cwd=here)
    assert told.returncode == 0, told.stderr
    logs = [path.read_text() for path in sorted(here.glob(f"{command}-*.log"), key=lambda path: path.stem)]
    assert len(logs) == 2
    for text in logs:
        said = text.strip().splitlines()[-1].split()
        assert said[:3] == ["-u", "-m", "galaxycgan"]
        values = build_parser("galaxycgan", "", COMMANDS).parse_args(said[3:])
        assert values.command == command
    assert logs[0] != logs[1]
