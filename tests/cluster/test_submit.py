"""python -m galaxycgan.submit on this machine: what it starts, what it refuses, what it says."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from slurm_cluster import ROOT, galaxycgan, submit, write_survey

from galaxycgan import cli, config, resources
from galaxycgan import submit as door
from galaxycgan.cluster import guard, jobs, launch, local, ready, slurm, stages
from galaxycgan.cluster.follow import Tail
from galaxycgan.cluster.jobs import Job
from galaxycgan.cluster.observe import observe
from galaxycgan.cluster.process import process_start
from galaxycgan.cluster.profiles import Profile, load_profile
from galaxycgan.cluster.rundir import JobDirectory, find_jobs
from galaxycgan.context import Context, Progress
from galaxycgan.errors import Interrupted, UserError

HEAVY = ("torch", "pandas", "astropy", "h5py", "submitit", "galsim")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory with a tiny survey; nobody's Slurm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    yield tmp_path
    # Local jobs outlive their test: one that failed would leave a training that takes a core for good.
    for job in find_jobs():
        where = job.state()
        if local.alive(where):
            os.kill(where["pid"], signal.SIGKILL)


@pytest.fixture
def survey(here):
    return write_survey(here / "raw")


@pytest.fixture
def stage(monkeypatch):
    """Put a function of the test in the place of every stage."""

    def replace(function):
        monkeypatch.setattr(config, "load", lambda name: function)

    return replace


def debug(**options):
    """Submit train_gan in this process, on a store that is only a name; return the exit code and the job directory."""
    if not Path("s.h5").exists():
        Path("s.h5").touch()
    options = config.TrainGan(store="s.h5", run="run", **options)
    return door.submit("train_gan", options, config.Submit(cluster="debug")), JobDirectory("run/job")


# What must be quick


@pytest.mark.parametrize("words", [["--help"], ["train_gan", "--help"], ["train_gan", "--store", "s.h5", "--dry-run"]])
def test_help_and_dry_run_import_nothing_heavy_and_take_less_than_half_a_second(here, words):
    (here / "s.h5").touch()
    code = (
        "import sys\nfrom galaxycgan.submit import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "times = __import__('os').times()\nprint('heavy', heavy, 'cpu', times.user + times.system)\nsys.exit(code)"
    )
    seconds = []
    for _ in range(3):
        told = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told.stderr
        last = told.stdout.splitlines()[-1]
        assert last.startswith("heavy [] cpu")
        seconds.append(float(last.split()[-1]))
    assert min(seconds) < 0.5


# A job on this machine, from its submission to its result


def test_a_local_job_runs_detached_and_the_same_command_again_says_that_it_is_done(here, survey):
    first = submit("convert", *survey, "--cluster", "local", cwd=here)
    assert first.returncode == 0, first.stderr
    assert "galaxycgan status catalogs/survey.h5" in first.stdout
    job = JobDirectory("catalogs/survey.h5.job")
    assert stat.S_IMODE(job.path.stat().st_mode) == 0o700
    waited = submit("convert", *survey, "--cluster", "local", "--wait", cwd=here)
    assert waited.returncode == 0, waited.stderr
    assert Path("catalogs/survey.h5").exists()
    before = job.log.read_text()
    again = submit("convert", *survey, "--cluster", "local", cwd=here)
    assert again.returncode == 0
    assert "done already" in again.stdout
    assert job.log.read_text() == before
    assert before.count("start 1 ---") == 1
    assert "convert  done" in galaxycgan("status", cwd=here).stdout
    assert galaxycgan("logs", "catalogs/survey.h5", cwd=here).stdout == before
    said = job.submission()
    assert said["config"]["bands"] == "g,r,i"
    assert said["versions"]["h5py"]


def test_the_same_request_ends_in_the_same_bytes_here_and_now_or_submitted(here, survey):
    told = submit("convert", *survey, "--cluster", "local", "--wait", "--out", "a/x.h5", cwd=here)
    assert told.returncode == 0, told.stderr
    said = JobDirectory("a/x.h5.job").submission()
    options = config.Convert(**said["config"] | {"out": "b/x.h5"})
    config.load("convert")(options, Context(created=said["created"]))
    config.load("verify")(config.Verify(files=("a/x.h5", "b/x.h5"), same=True), Context())


def test_a_mistake_that_only_the_stage_finds_is_one_line_and_exit_code_2(here, survey):
    told = submit("convert", *survey, "--cluster", "local", "--wait", "--columns", "photo_z=nothing", cwd=here)
    assert told.returncode == 2
    assert len(told.stderr.strip().splitlines()) == 1
    assert "nothing" in told.stderr
    assert "error:" not in told.stdout
    state = JobDirectory("catalogs/survey.h5.job").state()
    assert (state["state"], state["exit_code"]) == ("failed", 2)
    assert not Path("catalogs/survey.h5").exists()
    assert "nothing" in galaxycgan("status", "catalogs/survey.h5", cwd=here).stdout


def test_two_submissions_at_the_same_time_start_one_job(here, survey):
    command = [sys.executable, "-m", "galaxycgan.submit", "convert", *survey, "--cluster", "local", "--wait"]
    both = [subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [one.communicate(timeout=90)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sum("submitted to local" in words for words in told) == 1
    assert JobDirectory("catalogs/survey.h5.job").log.read_text().count(" start ") == 1


@pytest.mark.slow
def test_a_training_is_cancelled_goes_on_is_followed_and_killed(here, survey):
    assert submit("convert", *survey, "--cluster", "debug", cwd=here).returncode == 0
    words = ["train_gan", "--preset=tiny", "--batch=8", "--images=10000000", "--run=runs/a", "--threads=1"]
    job = JobDirectory("runs/a/job")

    def log_says(text):
        end = time.monotonic() + 60
        while text not in job.log.read_text():
            assert time.monotonic() < end, job.log.read_text()
            time.sleep(0.1)

    assert submit(*words, "--cluster", "local", cwd=here).returncode == 0
    log_says("training galaxies")
    assert "running already" in submit(*words, "--cluster", "local", cwd=here).stdout
    refused = submit(*words, "--overwrite", "--cluster", "local", cwd=here)
    assert refused.returncode == 2
    assert "galaxycgan cancel runs/a" in refused.stderr
    assert "stopped" in galaxycgan("cancel", "runs/a", cwd=here).stdout
    assert observe(job).state == "stopped"
    assert submit(*words, "--cluster", "local", cwd=here).returncode == 0
    log_says("going on at image")
    assert (observe(job).state, observe(job).restarts) == ("running", 1)

    def follow_and(act):
        command = [sys.executable, "-m", "galaxycgan.submit", *words, "--cluster", "local", "--wait"]
        # What a shell starts in the background ignores SIGINT, and so would this: here it shall be as on a terminal.
        waiting = subprocess.Popen(
            command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        assert "running already" in waiting.stdout.readline()
        act(waiting.pid)
        told = waiting.communicate(timeout=60)[1]
        return waiting.returncode, told

    code, told = follow_and(lambda pid: (time.sleep(0.5), os.kill(pid, signal.SIGINT)))
    assert code == 130
    assert "the job continues" in told
    assert observe(job).state == "running"
    code, told = follow_and(lambda _: os.kill(job.state()["pid"], signal.SIGKILL))
    assert code == 1
    assert "killed: process" in told
    assert "is killed already" in galaxycgan("cancel", "runs/a", cwd=here).stdout


def test_a_killed_process_is_found_out(here):
    process = subprocess.Popen(["sleep", "60"])
    job = JobDirectory("run/job")
    job.make()
    where = {"pid": process.pid, "pid_start": process_start(process.pid), "host": os.uname().nodename}
    job.write_submission(
        {"stage": "train_gan", "cluster": "local", "attempt": "a", "submitted": "2026-01-01T00:00:00Z", "config": {}}
    )
    job.write_state({"state": "running", "attempt": "a", "starts": 1, "started": "2026-01-01T00:00:00Z", **where})
    assert observe(job).state == "running"
    process.kill()
    end = time.monotonic() + 10
    while observe(job).state == "running" and time.monotonic() < end:
        time.sleep(0.02)
    assert observe(job).state == "killed"
    assert f"process {process.pid} is gone" in observe(job).reason
    process.wait()
    assert observe(job).state == "killed"


def test_a_process_of_another_machine_is_not_called_dead(here):
    assert local.alive({"host": "elsewhere", "pid": 1, "pid_start": "x"}) is None


def test_a_machine_that_got_another_name_still_knows_that_a_process_is_gone(here):
    process = subprocess.Popen(["true"])
    start = process_start(os.getpid())
    process.wait()
    where = {"host": "as it was called before", "pid": process.pid}
    assert local.alive(where | {"pid_start": start}) is False
    assert local.alive(where | {"pid_start": "00000000-7"}) is None
    assert local.alive(where | {"pid_start": start, "pid": os.getpid()}) is True


@pytest.mark.parametrize("leads", [True, False])
def test_a_job_that_never_ends_on_request_is_killed(leads):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=leads)
    process.stdout.readline()
    where = {"pid": process.pid, "pid_start": process_start(process.pid), "host": os.uname().nodename}
    assert local.stop(where, patience_s=0.3) is False
    assert process.wait(timeout=10) == -signal.SIGKILL


# The job itself


def test_a_job_hands_its_options_and_the_time_of_the_first_request_to_the_stage(here, stage, monkeypatch):
    times = iter(["2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z", "2026-03-03T00:00:00Z"])
    monkeypatch.setattr(launch, "created_now", lambda: next(times))
    seen = []

    def fails_at_first(options, context):
        seen.append((options, context.created))
        if len(seen) == 1:
            raise RuntimeError("out of luck")

    stage(fails_at_first)
    code, job = debug(seed=7)
    assert code == 1
    assert job.state()["reason"] == "RuntimeError: out of luck"
    assert debug(seed=7)[0] == 0
    assert seen[0] == seen[1] == (config.TrainGan(store="s.h5", run="run", seed=7), "2026-01-01T00:00:00Z")
    assert job.state()["starts"] == 2
    assert debug(seed=7, overwrite=True)[0] == 0
    assert seen[2][1] == "2026-02-02T00:00:00Z"
    assert job.state()["starts"] == 1


def test_a_signal_makes_the_stage_save_and_the_job_rest(here, stage):
    def long_work(options, context):
        os.kill(os.getpid(), signal.SIGUSR2)
        assert context.stop.wait(5)
        raise Interrupted

    before = signal.getsignal(signal.SIGTERM)
    stage(long_work)
    code, job = debug()
    assert code == 75
    assert job.state()["state"] == "stopped"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name, again", [("train_gan", True), ("evaluate", False)])
def test_out_of_time_a_stage_that_keeps_nothing_fails_and_is_not_queued_for_ever(here, monkeypatch, name, again):
    """Slurm's warning: what submitit's handler does with it is to queue the job again."""
    queued, preempted = [], False

    def interrupted(options, context):
        signal.raise_signal(signal.SIGUSR2)
        raise Interrupted

    def queue_again(number, frame):
        queued.append(number)
        raise SystemExit

    monkeypatch.setattr(config, "load", lambda name: interrupted)
    monkeypatch.setattr(jobs, "slurm_job_id", lambda: "7")
    monkeypatch.setattr(slurm, "preempted", lambda number: preempted)
    before = signal.signal(signal.SIGUSR2, queue_again)
    try:
        Path("s.h5").touch()
        Path("run").mkdir()
        options = (
            config.TrainGan(store="s.h5", run="out") if again else config.Evaluate(real="s.h5", gan="run", out="out")
        )

        def start(code):
            job = JobDirectory("out/job")
            with pytest.raises(SystemExit) if code is None else contextlib.nullcontext():
                assert door.submit(name, options, config.Submit(cluster="debug")) == code
            return job.state()["state"], job.state()["reason"]

        if again:
            assert start(None) == ("pending", "time limit or preemption: queued again")
            assert queued == [signal.SIGUSR2]
        else:
            state, reason = start(1)
            assert state == "failed" and "out of time" in reason and "time_minutes" in reason and not queued
            preempted = True  # whoever was sent away for others' sake may come again
            assert start(None)[0] == "pending" and queued
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_job_that_is_cancelled_while_it_saves_is_not_queued_again(here, stage, monkeypatch):
    queued = []

    def warned_then_cancelled(options, context):
        signal.raise_signal(signal.SIGUSR2)
        job = JobDirectory("run/job")
        job.write_submission(job.submission() | {"cancelled": "now"})
        signal.raise_signal(signal.SIGTERM)
        raise Interrupted

    stage(warned_then_cancelled)
    monkeypatch.setattr(jobs, "slurm_job_id", lambda: "7")
    before = signal.signal(signal.SIGUSR2, lambda number, frame: queued.append(number))
    try:
        code, job = debug()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (code, job.state()["state"], queued) == (75, "stopped", [])


@pytest.mark.parametrize("shards, shard, merge, kept", [(1, -1, 0, 0), (4, -1, 0, 1), (4, 2, 0, 0), (4, -1, 1, 0)])
def test_a_catalog_keeps_the_shards_that_are_whole(shards, shard, merge, kept):
    options = dataclasses.asdict(config.Generate(shards=shards, shard=shard, merge=bool(merge)))
    assert stages.keeps_progress("generate", options) == bool(kept)


def test_a_dry_run_refuses_what_the_submission_would(here, survey):
    for name in ("a", "b"):
        assert galaxycgan("convert", *survey, "--out", f"catalogs/{name}.h5", cwd=here).returncode == 0
    for words, option in ((["train_gan"], "--store"), (["evaluate", "--synthetic", "catalogs/a.h5"], "--real")):
        told = submit(*words, "--dry-run", cwd=here)
        assert told.returncode == 2 and f"several stores, give one with {option}: catalogs/a.h5" in told.stderr


def test_signals_that_come_while_python_imports_reach_the_stage(here):
    code = (
        "import sys\nfrom galaxycgan.cluster.jobs import stopping_signals\nfrom galaxycgan.context import Context\n"
        "print(flush=True)\nsys.stdin.readline()\ncontext = Context()\n"
        "with stopping_signals(context):\n    assert context.stop.wait(60)\nprint(sys.argv[1])\n"
    )
    for number in (signal.SIGUSR2, signal.SIGTERM):
        (here / "listens.py").write_text(code)
        process = subprocess.Popen(
            [sys.executable, "-m", "galaxycgan.cluster.ready", "-u", "-m", "listens", "word"], cwd=here, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout.readline() == "\n"
        process.send_signal(number)
        assert process.communicate("\n")[0] == "word\n"
        assert process.returncode == 0


def test_a_job_that_is_asked_to_stop_before_its_stage_starts_does_not_start_it(here, stage, monkeypatch):
    stage(lambda options, context: pytest.fail("ran"))
    monkeypatch.setattr(guard, "check_start", lambda *about: signal.raise_signal(signal.SIGUSR2))
    signal.pthread_sigmask(signal.SIG_BLOCK, ready.HELD)
    try:
        code, job = debug()
    finally:
        ready.release()
    assert code == 75
    assert job.state()["state"] == "stopped"


def test_a_job_that_runs_again_overwrites_only_once(here, stage):
    seen = []
    stage(lambda options, context: seen.append(options.overwrite))
    debug()
    debug(overwrite=True)
    Job.of(JobDirectory("run/job")).run()  # as Slurm does after a lost node
    assert seen == [False, True, False]


def test_a_job_that_ended_before_its_stage_was_called_overwrites_when_it_runs_again(here, stage, monkeypatch):
    seen = []
    stage(lambda options, context: seen.append(options.overwrite))
    debug()
    with monkeypatch.context() as patch:
        patch.setattr(guard, "check_start", lambda *about: signal.raise_signal(signal.SIGUSR2))
        signal.pthread_sigmask(signal.SIG_BLOCK, ready.HELD)
        try:
            assert debug(overwrite=True)[0] == 75
        finally:
            ready.release()
    for _ in range(2):
        assert Job.of(JobDirectory("run/job")).run() == 0
    assert seen == [False, True, False]


def test_a_job_whose_directory_was_submitted_anew_does_nothing(here, stage, capsys):
    stage(lambda options, context: None)
    _, job = debug()
    old = dataclasses.replace(Job.of(job), attempt="an earlier one")
    stage(lambda options, context: pytest.fail("ran"))
    assert old.run() == 0
    assert "submitted anew" in capsys.readouterr().out


def test_a_job_that_was_started_twice_waits_until_the_first_has_ended(here, stage, capfd):
    stage(lambda options, context: None)
    _, job = debug()
    code = (
        "import sys, time\nfrom galaxycgan.cluster.rundir import JobDirectory\n"
        "with JobDirectory('run/job').hold('run', 0):\n"
        "    print(flush=True)\n    time.sleep(0.5)\n    print(time.time())"
    )
    first = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    first.stdout.readline()
    ran_at = []
    stage(lambda options, context: ran_at.append(time.time()))
    assert Job.of(job).run() == 0
    assert ran_at[0] >= float(first.communicate()[0])
    assert "waiting until it ends" in capfd.readouterr().out


def test_a_job_gives_submitit_a_fresh_copy_of_itself(here, stage):
    pytest.importorskip("submitit")
    stage(lambda options, context: None)
    job = Job.of(debug()[1])
    again = job.checkpoint()
    assert again.function == job
    assert not again.args


# What is refused


def test_another_request_in_the_same_directory_is_refused_and_names_what_differs(here, stage):
    stage(lambda options, context: None)
    debug(lr=0.001)
    with pytest.raises(UserError, match="--lr: 0.001 there, 0.002 asked.*--overwrite"):
        debug(lr=0.002)
    assert debug(lr=0.001, threads=3)[0] == 0


def test_a_request_that_its_stage_refused_does_not_stand_in_the_way_of_the_right_one(here, stage):
    def choosy(options, context):
        if options.labels == "colour":
            raise UserError("s.h5: no column 'colour' to condition on")
        Path("run/made").touch()

    stage(choosy)
    assert debug(images=32, labels="colour")[0] == 2
    assert debug(images=32)[0] == 0
    with pytest.raises(UserError, match="--images: 32 there, 64 asked"):
        debug(images=64)


def test_another_stage_in_the_same_directory_is_refused_even_to_overwrite(here, stage):
    stage(lambda options, context: None)
    debug()
    with pytest.raises(UserError, match="belongs to the stage train_gan"):
        options = config.TrainClassifier(store="s.h5", run="run", overwrite=True)
        door.submit("train_classifier", options, config.Submit(cluster="debug"))


def test_changed_input_is_not_done_already(here, stage):
    runs = []
    stage(lambda options, context: runs.append(1))
    debug()
    debug()
    assert len(runs) == 1
    Path("s.h5").write_text("more")
    debug()
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train_gan"], r"no store catalogs/\*.h5"),
        (["train_gan", "--store", "gone.h5"], "gone.h5: no such file"),
        (["generate", "--recipe", "nonsense"], "no recipe of that name.*demo"),
        (["generate", "--recipe", "gone.toml"], "gone.toml: no such recipe"),
        (["generate"], "runs/train_gan: no such run directory.*submit train_gan"),
        (["classify"], "runs/train_classifier: no such run directory"),
        (["convert"], r"data/images.small.npy: no such file"),
        (["train_gan", "--store", "s.h5", "--run", "s.h5"], "--run s.h5: must be a directory, is a file"),
        (["train_gan", "--store", "s.h5", "--profile", "nonsense"], "no profile of that name.*small-cpu"),
        (["train_gan", "--store", "s.h5", "--speed", "9"], "--speed"),
        (["study", "--store", "s.h5"], "--test is missing"),
        (["train_gan", "--store", "s.h5", "--images", "-4"], "--images -4: must be at least 1, or 0$"),
        (["train_gan", "--store", "s.h5", "--lr", "nan"], "--lr nan: must be finite and above 0, or 0$"),
        (["train_gan", "--store", "s.h5", "--array", "batch=1,32"], "--array batch=1,32: batch = 1 must be at least 2"),
        (["train_classifier", "--store", "s.h5", "--fraction", "0"], "--fraction 0.0: must be above 0 and at most 1$"),
        (["study", "--store", "s.h5", "--test", "s.h5", "--part", "-2"], "--part -2: must be at least 0, or -1$"),
        (["study", "--store", "s.h5", "--test", "s.h5", "--array", "part=0..3"], "--part 1: of --parts 1"),
        (["generate", "--gan", "pretrained", "--array", "shard=0..3", "--shards", "2"], "--shard 2: of --shards 2"),
    ],
)
def test_cheap_mistakes_are_found_before_anything_is_made(here, capsys, words, message):
    Path("s.h5").touch()
    for extra in (["--dry-run"], []):
        assert door.main([*words, "--cluster", "local", *extra]) == 2
        said = capsys.readouterr().err
        assert len(said.strip().splitlines()) == 1
        assert re.search(message, said), said
    assert sorted(path.name for path in here.iterdir()) == ["s.h5"]


def test_a_dry_run_says_everything_and_writes_nothing(here, capsys):
    Path("s.h5").touch()
    Path("runs/train_gan").mkdir(parents=True)
    assert door.main(["generate", "--cluster", "local", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "catalogs/generated/demo/job" in said
    assert "cluster  local" in said
    assert not Path("catalogs").exists()


def test_galaxycgan_submit_is_the_same_door(here, capsys):
    Path("s.h5").touch()
    words = ["train_gan", "--store", "s.h5", "--cluster", "local", "--array", "seed=0,1", "--dry-run"]
    said = []
    for main, given in ((door.main, words), (cli.main, ["submit", *words])):
        assert main(given) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and "seed=1" in said[0]
    assert cli.main(["submit", "train_gan", "--nonsense"]) == 2
    assert "galaxycgan submit: error: unrecognized arguments: --nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('partion = "gpu"', "unknown key 'partion'; did you mean partition.*Valid keys: clusters, partition"),
        ('cpus_per_task = "four"', "cpus_per_task = 'four' must be a whole number"),
        ("mem_gb = -1", "mem_gb = -1 must be a number above 0.001"),
        ("mem_gb = 1e-5", "mem_gb = 1e-05 must be a number above 0.001"),  # --mem=0M: all of a node's
        ("mem_gb = inf", "mem_gb = inf must be a number"),
        ('partition = ""', "partition = '' must be a text, and not an empty one"),
        ('[additional]\n"--exclusive" = true', "must be a table of options' names, without dashes"),
        ("modules = 'cuda'", "modules = 'cuda' must be a list of texts"),
        ("gpus_per_node = 1\ngres = 'gpu:1'", "both ask for GPUs"),
        ("time_minutes = 1", "signal_delay_s = 120 is no less"),
        ('container = "gone.sif"', "container = 'gone.sif': no such file"),
        ('container_args = ["--cleanenv"]', "container_args without container"),
        ('[additional]\nclusters = "b"', "additional.clusters: write clusters above"),
        ("partition = ", "not valid TOML"),
    ],
)
def test_a_bad_profile_is_refused_in_one_line(here, text, message):
    Path("p.toml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_profile("p.toml")
    assert str(caught.value).startswith("p.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "slurm/profiles").glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_profile_is_good_and_found_by_name(here, path):
    profile, found = load_profile(path.stem)
    assert Path(found).samefile(path)
    assert profile != Profile()


def test_a_profile_becomes_what_submitit_takes(here):
    profile = Profile(
        partition="gpu", cpus_per_task=4, mem_gb=1.5, modules=("cuda/12",), additional={"exclusive": True}
    )
    asked = slurm.parameters(profile, "train_gan", Path("/a/100%/log.txt"))
    assert asked["mem"] == "1536M"
    assert asked["wckey"] is None
    assert asked["setup"][0] == "module load cuda/12"
    assert {"--cpus-per-task=4", "--kill-on-bad-exit=1", "--output=/a/100%%/log.txt"} <= set(asked["srun_args"])
    assert asked["additional_parameters"]["exclusive"] is True
    assert "account" not in asked
    # whatever SUBMITIT_PREEMPT_SIGNAL says here or on the node
    assert asked["additional_parameters"]["signal"] == "USR2@120"
    assert "SUBMITIT_PREEMPT_SIGNAL=USR2" in asked["setup"][-1]


def test_what_a_profile_says_no_to_is_not_asked_for(here):
    profile = Profile(additional={"no-requeue": True, "exclusive": False})
    asked = slurm.parameters(profile, "train_gan", Path("/a/log.txt"))["additional_parameters"]
    assert asked["no-requeue"] is True
    assert not {"requeue", "exclusive"} & set(asked)


def test_slurm_is_asked_of_the_cluster_that_a_job_went_to(here, stage, monkeypatch):
    asked = []
    told = "CLUSTER: far\n7|PENDING|Priority|\n"
    monkeypatch.setattr(slurm, "ask", lambda words, clusters: asked.append((words[0], clusters)) or told)
    job = JobDirectory("run/job")
    job.make()
    about = {"stage": "train_gan", "cluster": "slurm", "job_id": "7", "attempt": "a", "submitted": "2026", "config": {}}
    view = slurm.View()
    for clusters in ("", "far", "far"):
        job.write_submission(about | {"clusters": clusters})
        job.write_state({"state": "pending"})
        assert observe(job, view).reason == "waits: Priority"
    assert asked == [("squeue", ""), ("squeue", "far")]
    asked = slurm.parameters(Profile(clusters="far"), "train_gan", Path("/a/log.txt"))["additional_parameters"]
    assert asked["clusters"] == "far"
    monkeypatch.setenv("SLURM_CLUSTERS", "near")
    assert [slurm.clusters_of(profile) for profile in (Profile(), Profile(clusters="far"))] == ["near", "far"]


@pytest.mark.parametrize(
    ("word", "state"), [("PENDING", "pending"), ("REQUEUED", "pending"), ("COMPLETING", "failed"), ("", "failed")]
)
def test_a_failed_job_that_slurm_has_queued_again_waits(here, monkeypatch, word, state):
    job = JobDirectory("run/job")
    job.make()
    about = {"stage": "train_gan", "cluster": "slurm", "job_id": "7", "attempt": "a", "submitted": "2026", "config": {}}
    job.write_submission(about)
    job.write_state({"state": "failed", "attempt": "a", "exit_code": 1, "starts": 1, "finished": "2026"})
    monkeypatch.setattr(slurm.View, "queue", lambda view, clusters: {"7": (word, "None", "")} if word else {})
    seen = observe(job)
    assert (seen.state, seen.exit_code) == (state, 1 if state == "failed" else 0)


def test_ctrl_c_between_submissions_takes_the_first_ones_back(here, monkeypatch):
    numbers, cancelled = iter(["3", "4"]), []

    def submit_one(chunk, *arguments):
        if (number := next(numbers)) == "4":
            raise KeyboardInterrupt
        return [f"{number}_{k}" for k in range(len(chunk))]

    monkeypatch.setattr(slurm, "_submit", submit_one)
    monkeypatch.setattr(slurm, "most_elements", lambda clusters: 2)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    monkeypatch.setattr(slurm, "cancel", lambda *numbers, clusters: cancelled.extend(numbers))
    with pytest.raises(KeyboardInterrupt):
        slurm.start([(None, None)] * 4, here, "x", Profile())
    assert cancelled == ["3"]


def test_stages_of_a_pipeline_go_to_one_cluster(here, monkeypatch):
    monkeypatch.setattr(door, "choose_cluster", lambda *_: ("slurm", ""))
    Path("a.toml").write_text('clusters = "a"\n')
    Path("s.h5").touch()
    Path("two.toml").write_text('[train_gan]\nstore = "s.h5"\n[generate]\ngan = "@train_gan"\nprofile = "a.toml"\n')
    with pytest.raises(UserError, match="goes to clusters .the own. and a; Slurm's jobs can't wait"):
        door.submit("pipeline", config.Pipeline(recipe="two.toml"), config.Submit(dry_run=True))


def test_a_path_in_which_slurm_would_replace_something_is_refused(here, monkeypatch):
    Path("s.h5").touch()
    monkeypatch.setattr(door, "choose_cluster", lambda *_: ("slurm", ""))
    monkeypatch.setattr(door, "_ask_slurm_first", lambda plan: None)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    with pytest.raises(UserError, match="r50%job/job/slurm: Slurm and submitit replace % in paths"):
        door.submit("train_gan", config.TrainGan(store="s.h5", run="r50%job"), config.Submit())
    assert not Path("r50%job").exists()


def test_a_submission_from_inside_a_job_hides_that_job(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    with slurm.own_environment():
        assert "SLURM_JOB_ID" not in os.environ
        assert os.environ["SLURM_CONF"] == "/etc/slurm/slurm.conf"
    assert os.environ["SLURM_JOB_ID"] == "77"


def test_where_slurm_does_not_answer_auto_is_local_and_says_why(here, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert door.choose_cluster("auto") == ("local", " (no Slurm commands here)")
    with pytest.raises(UserError, match="use --cluster local"):
        door.choose_cluster("slurm")


# Small things


def test_the_progress_of_a_stage_is_one_bar_on_a_terminal_and_lines_elsewhere(here, capsys):
    with Progress("training", 1000, "images", every_seconds=0) as progress:
        progress.at(100)
        progress.at(500, "loss 0.3")
    log = capsys.readouterr().out
    Path("log.txt").write_text(log + "saved\n")
    tail = Tail(Path("log.txt"), 0)
    tail.show(last=True)
    assert capsys.readouterr().out == log + "saved\n"
    tail = Tail(Path("log.txt"), 0)
    tail.bar = True
    tail.show(last=True)
    first, second = log.splitlines()
    bars = f"\r\033[K[{'#' * 2}{'-' * 18}] {first}\r\033[K[{'#' * 10}{'-' * 10}] {second}"
    assert capsys.readouterr().out == f"{bars}\nsaved\n"


def test_status_of_what_was_never_submitted_says_so(here):
    told = galaxycgan("status", "runs/nothing", cwd=here)
    assert told.returncode == 2
    assert "no such file or directory" in told.stderr
    assert "nothing was submitted" in galaxycgan("status", cwd=here).stdout


def test_recipes_of_the_current_directory_come_before_those_of_the_package(here):
    assert resources.find("recipe", "demo").samefile(ROOT / "catalogs/demo.toml")
    Path("catalogs").mkdir()
    Path("catalogs/demo.toml").touch()
    assert resources.find("recipe", "demo") == Path("catalogs/demo.toml")


def test_a_wheel_carries_the_recipes_and_the_profiles(tmp_path):
    pytest.importorskip("setuptools", "70.1", reason="a wheel is built by setuptools 70.1; pip install -U setuptools")
    for name in ("setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "galaxycgan", "catalogs", "slurm"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "setup.py", "-q", "bdist_wheel", "--dist-dir", "out"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next((tmp_path / "out").glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    code = "from galaxycgan.resources import find; print(find('recipe', 'demo'), find('profile', 'small-cpu'))"
    (tmp_path / "else").mkdir()
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "else", capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("site/galaxycgan/shipped/") == 2


def test_the_job_directory_is_plain_json(here, stage):
    stage(lambda options, context: None)
    _, job = debug()
    for name in ("submission.json", "state.json"):
        assert json.loads((job.path / name).read_text())
