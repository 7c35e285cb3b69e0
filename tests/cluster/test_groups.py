"""Arrays and pipelines on this machine, and what a job refuses to start with."""

import dataclasses
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from slurm_cluster import ROOT, galaxycgan, submit, until, write_survey

from galaxycgan import config
from galaxycgan import submit as door
from galaxycgan.cluster import driver, fingerprints, machine, rundir, slurm, stages
from galaxycgan.cluster.group import Group
from galaxycgan.cluster.jobs import Job
from galaxycgan.cluster.observe import observe
from galaxycgan.cluster.pipeline import read_pipeline
from galaxycgan.cluster.plan import parse_array, product
from galaxycgan.cluster.precheck import gpus, minutes
from galaxycgan.cluster.process import process_start
from galaxycgan.cluster.profiles import Profile, load_profile
from galaxycgan.cluster.rundir import JobDirectory
from galaxycgan.cluster.status import status
from galaxycgan.cluster.tree import branches
from galaxycgan.context import Context
from galaxycgan.errors import UserError
from galaxycgan.files.atomic import write_json


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory with a store that is only a name; nobody's Slurm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    Path("s.h5").touch()
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """Put a function that makes each stage's result in the place of all stages; return the list of its calls.

    A call whose description contains `calls.bad` fails.
    """

    class Calls(list):
        bad = None

    made = Calls()

    def run(name):
        def stage(options, context):
            made.append((name, options))
            if made.bad and made.bad in repr((name, options)):
                raise RuntimeError("out of luck")
            place = Path(getattr(options, config.STAGES[name]))
            place = place if name in stages.FILE_RESULTS else place / "result.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("result\n")

        return stage

    monkeypatch.setattr(config, "load", run)
    return made


def array(*texts, stage="train_gan", **options):
    """Submit an array in this process; return the exit code."""
    options = {"store": "s.h5", "run": "sweep"} | options if stage == "train_gan" else options
    how = config.Submit(cluster="debug", array=texts)
    return door.submit(stage, config.COMMANDS[stage][0](**options), how)


def table(directory, capsys):
    """Return what ``galaxycgan status`` says, as one text."""
    capsys.readouterr()
    status(config.Status(runs=(directory,)), Context())
    return capsys.readouterr().out


# Arrays


def test_an_array_is_the_product_and_every_element_has_its_own_directory(here, calls):
    assert array("seed=0,1", "lr=1e-4,4e-4") == 0
    assert [(options.seed, options.lr) for _, options in calls] == [(0, 1e-4), (0, 4e-4), (1, 1e-4), (1, 4e-4)]
    assert sorted(path.parent.name for path in Path("sweep").glob("*/result.txt")) == [
        "seed=0,lr=0.0001", "seed=0,lr=0.0004", "seed=1,lr=0.0001", "seed=1,lr=0.0004",
    ]  # fmt: skip
    assert stat.S_IMODE(Path("sweep/array").stat().st_mode) == 0o700


def test_the_same_array_again_runs_only_what_is_missing_or_failed(here, calls, capsys):
    calls.bad = "seed=1"
    assert array("seed=0..2") == 1
    assert "2 done, 1 failed" in table("sweep", capsys)
    calls.bad = None
    calls.clear()
    assert array("seed=0..3") == 0
    assert [options.seed for _, options in calls] == [1, 3]
    assert "4 done" in table("sweep", capsys)
    calls.clear()
    assert array("seed=0..3") == 0
    assert not calls


def test_elements_of_a_stage_that_writes_a_file_are_files(here):
    varied = parse_array("convert", ["duplicates=nearest,first"])
    tasks, directory = product("convert", config.Convert(bands="g,r,i", out="catalogs/survey.h5"), varied)
    assert [str(task.result) for task in tasks] == [
        "catalogs/survey/duplicates=nearest.h5", "catalogs/survey/duplicates=first.h5",
    ]  # fmt: skip
    assert str(directory) == "catalogs/survey"


def test_a_shard_is_made_again_where_it_is_gone_but_not_once_it_is_merged(here, calls):
    Path("gan").mkdir()
    options = {"stage": "generate", "gan": "gan", "shards": 2, "out": "out"}
    catalog, shards = Path("out/catalog.h5"), [Path(f"out/shards/shard-{k}-of-2.h5") for k in (0, 1)]
    for there, runs in (([], 2), (shards, 0), (shards[:1], 1), ([catalog], 0)):
        for path in (*shards, catalog):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch() if path in there else path.unlink(missing_ok=True)
        calls.clear()
        assert array("shard=0,1", **options) == 0
        assert len(calls) == runs, there


def test_the_jobs_of_a_second_submission_wait_until_the_first_leaves_room(here, monkeypatch):
    asked = []

    def start(jobs, folder, name, profile, parents, throttle, behind):
        asked.append((len(jobs), throttle, behind))
        return [f"{len(asked)}_{k}" for k in range(len(jobs))]

    monkeypatch.setattr(door, "choose_cluster", lambda *_: ("slurm", ""))
    monkeypatch.setattr(door, "_ask_slurm_first", lambda plan: None)
    monkeypatch.setattr(slurm, "start", start)
    queue = {f"1_{k}": ("RUNNING", "None", "node") for k in range(2)}
    monkeypatch.setattr(slurm.View, "queue", lambda view, clusters: queue)
    for seeds in ("0,1", "0..2", "0..3"):
        how = config.Submit(array=(f"seed={seeds}",), max_jobs=3 if seeds == "0..2" else 2)
        assert door.submit("train_gan", config.TrainGan(store="s.h5", run="sweep"), how) == 0
        queue["2_0"] = ("PENDING", "None", "")
    assert asked == [(2, 2, []), (1, 1, []), (1, 2, ["1", "2"])]


def test_a_second_driver_leaves_the_first_ones_jobs_their_places(here, calls):
    array("seed=0,1")
    first, second = (JobDirectory(f"sweep/seed={seed}/job") for seed in (0, 1))
    first.write_submission(first.submission() | {"attempt": "first", "group_attempt": "first"})
    where = {"host": os.uname().nodename, "pid": os.getpid(), "pid_start": process_start(os.getpid())}
    first.update_state(state="running", attempt="first", **where)
    second.write_submission(second.submission() | {"group_attempt": "second"})
    one = driver.Driver(Group("sweep/array"), "second", 1, begin=driver.Here)
    one._start_what_can()
    assert not one.running
    first.update_state(state="done")
    one._start_what_can()
    assert list(one.running) == ["seed=1"]


def test_shards_of_one_catalog_share_its_place_and_have_their_own_job_directories(here):
    tasks, directory = product("generate", config.Generate(shards=3), parse_array("generate", ["shard=0..2"]))
    assert {str(task.result) for task in tasks} == {"catalogs/generated/demo"} == {str(directory)}
    assert [task.job_path.name for task in tasks] == ["shard=0", "shard=1", "shard=2"]
    assert rundir.result_of(JobDirectory(tasks[0].job_path)) == Path("catalogs/generated/demo")


def test_catalogs_of_several_recipes_lie_beside_each_other(here):
    tasks, _ = product("generate", config.Generate(), parse_array("generate", ["recipe=demo,grid"]))
    assert [str(task.result) for task in tasks] == [
        "catalogs/generated/recipe=demo", "catalogs/generated/recipe=grid",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["sed=1,2"], "no option sed; did you mean seed"),
        (["seed"], "write OPTION=VALUE"),
        (["seed="], "write OPTION=VALUE"),
        (["seed=1,x"], "seed = 'x' must be a whole number"),
        (["seed=1,1"], "seed has the value 1 twice"),
        (["seed=1", "seed=2"], "seed is there twice"),
        (["run=a,b"], "--run can't vary"),
        (["overwrite=true"], "--overwrite can't vary"),
        (["preset=tiny,huge"], "preset = 'huge' must be one of tiny, base, large"),
        (["batch=1,32"], "--array batch=1,32: batch = 1 must be at least 2"),
        (["lr=fast"], "lr = 'fast' must be a number"),
        (["store=a/s.h5,a-s.h5"], "two elements would be called store=a-s.h5"),
    ],
)
def test_a_wrong_array_is_refused_in_one_line(here, texts, message):
    with pytest.raises(UserError, match=message) as caught:
        array(*texts)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in here.iterdir()) == ["s.h5"]


def test_an_array_is_split_and_throttled_as_the_cluster_wants_it():
    assert [len(chunk) for chunk in slurm.split(list(range(25)), 10)] == [8, 8, 9]
    assert sum(slurm.split(list(range(25)), 10), []) == list(range(25))
    assert slurm.shares(10, 3) == ([4, 3, 3], 3)
    assert slurm.shares(2, 3) == ([1, 1, 1], 2)


def test_a_driver_runs_no_more_at_once_than_it_may(here, monkeypatch):
    running, most, begun = [], [], []

    class Slow:
        def __init__(self, directory, cwd):
            begun.append(directory.path.parent.name)
            running.append(self)
            self.end = time.monotonic() + 0.3
            self.directory = directory

        def poll(self):
            most.append(len(running))
            if time.monotonic() < self.end:
                return None
            if self in running:
                running.remove(self)
                self.directory.update_state(state="done")
            return 0

    monkeypatch.setattr(door.launch, "run_here", lambda fresh, records: 0)
    array("seed=0..4")
    attempt = JobDirectory("sweep/seed=0/job").submission()["group_attempt"]
    assert driver.Driver(Group("sweep/array"), attempt, 2, begin=Slow).run() == 0
    assert begun == [f"seed={k}" for k in range(5)]
    assert max(most) == 2


def test_a_job_whose_process_dies_at_its_start_has_failed_and_the_others_go_on(here, monkeypatch):
    monkeypatch.setattr(door.launch, "run_here", lambda fresh, records: 0)
    array("seed=0,1")
    jobs = [JobDirectory(f"sweep/seed={seed}/job") for seed in (0, 1)]
    where = {"host": os.uname().nodename, "pid": os.getpid(), "pid_start": process_start(os.getpid()), "driver": True}
    for job in jobs:
        job.write_submission(job.submission() | {"cluster": "local"} | where)

    def begin(directory, cwd):
        return subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(3)"])

    one = driver.Driver(Group("sweep/array"), jobs[0].submission()["group_attempt"], 1, begin)
    running = threading.Thread(target=one.run, daemon=True)
    running.start()
    running.join(30)
    assert not running.is_alive()
    assert {observe(job).state for job in jobs} == {"failed"}
    assert observe(jobs[1]).reason == "its process ended before the job began (exit code 3); see the log"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_an_array_in_this_process_stops_all_of_it(here, monkeypatch, number):
    ran = []

    def stage(options, context):
        ran.append(options.seed)
        if options.seed == 1:
            signal.raise_signal(number)
        context.check()

    monkeypatch.setattr(config, "load", lambda name: stage)
    before = signal.getsignal(number)
    assert array("seed=0..3") == 75
    assert ran == [0, 1]
    states = [observe(JobDirectory(f"sweep/seed={seed}/job")).state for seed in range(4)]
    assert states == ["done", "stopped", "stopped", "stopped"]
    assert signal.getsignal(number) is before


def test_one_job_of_an_array_in_this_process_can_be_cancelled(here, monkeypatch):
    ran = []

    def stage(options, context):
        ran.append(options.seed)
        if options.seed == 1:
            job = JobDirectory("sweep/seed=1/job")
            job.write_submission(job.submission() | {"cancelled": "now"})
            signal.raise_signal(signal.SIGTERM)
        context.check()

    monkeypatch.setattr(config, "load", lambda name: stage)
    assert array("seed=0..2") == 75
    assert ran == [0, 1, 2]


@pytest.mark.slow
def test_a_local_array_and_a_pipeline_run_detached_and_can_be_cancelled(here):
    survey = write_survey(here / "raw")
    words = ["convert", *survey, "--cluster", "local", "--array", "duplicates=nearest,first", "--max-jobs", "2"]
    told = submit(*words, "--wait", cwd=here)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "2 of 2 done" in told.stdout
    assert "2 done already" in submit(*words, cwd=here).stdout
    files = "\n".join(f'{key[2:]} = "{value}"' for key, value in zip(survey[2::2], survey[3::2], strict=True))
    Path("p.toml").write_text(
        f'[convert]\nbands = "g,r,i"\n{files}\n[train_gan]\nstore = "@convert"\npreset = "tiny"\nbatch = 8\n'
        'images = 10000000\nthreads = 1\n[generate]\ngan = "@train_gan"\n'
    )
    assert submit("pipeline", "--recipe", "p.toml", "--cluster", "local", cwd=here).returncode == 0
    training = JobDirectory("runs/p/train_gan/job")
    end = time.monotonic() + 120
    while "training galaxies" not in (training.log.read_text() if training.log.exists() else ""):
        assert time.monotonic() < end, galaxycgan("status", cwd=here).stdout
        time.sleep(0.2)
    assert "waits for train_gan" in galaxycgan("status", "runs/p", cwd=here).stdout
    assert "2 jobs cancelled" in galaxycgan("cancel", "runs/p", cwd=here).stdout
    assert observe(training).state == "stopped"
    assert observe(JobDirectory("runs/p/generate/job")).reason == "cancelled"
    assert "==> train_gan" in galaxycgan("logs", "runs/p", cwd=here).stdout
    again = submit("pipeline", "--recipe", "p.toml", "--cluster", "local", "--dry-run", cwd=here)
    assert "convert.h5: done: nothing would be started" in again.stdout
    assert "train_gan: would be started" in again.stdout


@pytest.mark.parametrize(
    "parent, told",
    [
        ("running", "killed"),
        ("pending", "killed"),
        ("failed", "cancelled, for train_gan is failed"),
        ("done", "killed"),
    ],
)
def test_a_job_whose_driver_was_killed_blames_no_parent_that_goes_on(here, parent, told):
    before, job = JobDirectory("train_gan/job"), JobDirectory("generate/job")
    about = {"attempt": "1", "cluster": "local", "submitted": "2026-01-01T00:00:00Z"}
    gone = {"host": socket.gethostname(), "pid": 1, "pid_start": "another"}
    for directory, more in ((before, {}), (job, gone | {"after": [{"name": "train_gan", "job": "train_gan/job"}]})):
        directory.make()
        directory.write_submission(about | more)
    before.write_state({"attempt": "1", "state": parent})
    found = observe(job)
    assert (f"{found.state}: {found.reason}" if told == "killed" else found.reason).startswith(told)
    assert "did not end well" not in found.reason


# Pipelines

RECIPE = """
[pipeline]
run = "out"
[train_gan]
store = "s.h5"
[generate]
gan = "@train_gan"
[classifiers]
stage = "train_classifier"
store = "s.h5"
array = { seed = [0, 1] }
[classify]
store = "@generate/result.txt"
model = "@classifiers/seed=1"
"""


def pipeline(text=RECIPE, **options):
    """Submit a pipeline in this process; return the exit code."""
    Path("p.toml").write_text(text)
    return door.submit("pipeline", config.Pipeline(recipe="p.toml", **options), config.Submit(cluster="debug"))


def test_a_pipeline_runs_in_order_and_hands_results_on(here, calls, capsys):
    assert pipeline() == 0
    assert [name for name, _ in calls] == ["train_gan", "generate", "train_classifier", "train_classifier", "classify"]
    options = calls[-1][1]
    assert (options.store, options.model, options.out) == (
        "out/generate/result.txt", "out/classifiers/seed=1", "out/classify.fits",
    )  # fmt: skip
    shown = capsys.readouterr().out
    assert "train_gan " in shown
    assert "└─ generate" in shown
    assert "5 done" in table("out", capsys)
    calls.clear()
    assert pipeline() == 0
    assert not calls


def test_a_failed_parent_cancels_its_children_with_a_reason_and_again_runs_only_what_is_missing(here, calls, capsys):
    calls.bad = "'train_gan'"
    assert pipeline() == 1
    assert {name for name, _ in calls} == {"train_gan", "train_classifier"}
    reason = "cancelled, for train_gan is failed: RuntimeError: out of luck"
    assert observe(JobDirectory("out/generate/job")).reason == reason
    assert observe(JobDirectory("out/classify.fits.job")).reason == f"cancelled, for generate is stopped: {reason}"
    assert reason in table("out", capsys)
    calls.bad = None
    calls.clear()
    assert pipeline() == 0
    assert [name for name, _ in calls] == ["train_gan", "generate", "classify"]


def test_what_follows_something_that_is_made_anew_is_made_anew_too(here, calls):
    pipeline()
    calls.clear()
    Path("s.h5").write_text("other galaxies")
    assert pipeline() == 0
    assert len(calls) == 5
    calls.clear()
    assert pipeline(overwrite=True) == 0
    assert all(options.overwrite for _, options in calls)
    assert len(calls) == 5


def test_a_child_refuses_input_that_is_not_complete_or_not_this_pipelines(here, calls):
    pipeline()
    child, parent = JobDirectory("out/generate/job"), JobDirectory("out/train_gan/job")

    def refused():
        before = len(calls)
        assert Job.of(child).run() == 2
        assert len(calls) == before
        return child.state()["reason"]

    state, submission = parent.state(), parent.submission()
    parent.update_state(state="failed", reason="out of memory")
    assert "input not complete: train_gan is failed (out of memory)" in refused()
    parent.write_state(state)
    parent.write_submission(submission | {"config": submission["config"] | {"seed": 7}})
    assert "is not what train_gan of this pipeline makes: --seed: 7 there, 0 asked" in refused()
    parent.write_submission(submission | {"created": "2001-01-01T00:00:00Z"})
    assert "submitted 2001-01-01" in refused()
    parent.write_submission(submission)
    Path("out/train_gan/result.txt").write_text("something else\n")
    assert "was changed or removed since train_gan made it" in refused()
    Path("out/train_gan/result.txt").unlink()
    assert "was changed or removed since" in refused()


def run_names(calls):
    """Return the stages that ran, and whether each was to overwrite; forget them."""
    found = [(name, options.overwrite) for name, options in calls]
    calls.clear()
    return found


def test_a_checkpoint_that_a_finished_run_no_longer_needs_may_go(here, calls, capsys):
    pipeline()
    assert len(run_names(calls)) > 1
    (Path("out/train_gan") / "checkpoint.pt").write_text("weights\n")
    pipeline()
    (Path("out/train_gan") / "checkpoint.pt").unlink()
    pipeline()
    assert run_names(calls) == []


def test_what_reads_a_result_that_was_overwritten_meanwhile_is_overwritten_too(here, calls, capsys):
    pipeline()
    options = config.TrainGan(store="s.h5", run="out/train_gan", overwrite=True)
    door.submit("train_gan", options, config.Submit(cluster="debug"))
    calls.clear()
    assert door.main(["pipeline", "--recipe", "p.toml", "--cluster", "debug", "--dry-run"]) == 0
    assert "generate                 out/generate: would be started" in capsys.readouterr().out
    assert pipeline() == 0
    assert run_names(calls) == [("generate", True), ("classify", True)]
    assert pipeline() == 0
    assert not calls
    door.submit("train_gan", options, config.Submit(cluster="debug"))
    calls.bad = "Generate("
    assert pipeline() == 1
    calls.bad = None
    calls.clear()
    assert pipeline() == 0  # what did not come to overwrite still has to
    assert run_names(calls) == [("generate", True), ("classify", True)]


def test_what_reads_a_result_that_is_another_meanwhile_is_made_anew(here, calls):
    pipeline()
    Path("s.h5").write_text("other galaxies")
    alone(run="out/train_gan", seed=0)
    calls.clear()
    assert pipeline() == 0
    again = ["generate", "train_classifier", "train_classifier", "classify"]
    assert run_names(calls) == [(name, False) for name in again]
    assert pipeline() == 0
    assert not calls


def test_a_result_that_was_changed_is_made_again_by_its_pipeline_and_so_is_what_reads_it(here, calls):
    pipeline()
    calls.clear()
    Path("out/train_gan/notes.txt").write_text("of the user\n")
    assert pipeline() == 0
    assert not calls
    Path("out/train_gan/result.txt").write_text("something else\n")
    assert pipeline() == 0
    assert [name for name, _ in run_names(calls)] == ["train_gan", "generate", "classify"]


def test_parts_that_all_write_one_file_are_not_held_against_each_other(here, calls):
    Path("t.h5").touch()
    text = "[study]\nstore='s.h5'\ntest='t.h5'\nparts=2\narray={part=[0,1]}\n[classify]\nstore='s.h5'\nmodel='@study'\n"
    assert pipeline(text) == 0
    calls.clear()
    assert pipeline(text) == 0
    assert not calls
    done = Path("runs/p/study/fraction=1/seed=0/done.json")
    done.parent.mkdir(parents=True)
    done.touch()
    for gone in (Path("runs/p/study/result.txt"), done):
        gone.unlink()
        assert pipeline(text) == 0
        done.touch()
        assert [name for name, _ in run_names(calls)] == ["study", "study", "classify"]
        assert pipeline(text) == 0
        calls.clear()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train_gan", "not valid TOML"),
        ("", "no stage"),
        ("[pipeline]\nrum = 'a'\n[train_gan]", r"\[pipeline\] has no key 'rum'; it has: run, profile"),
        ("[fly]", "no stage 'fly'; say stage = one of convert, train_gan"),
        ("[train_gan]\nseeds = 1", "no option seeds; did you mean seed"),
        ("[train_gan]\nseed = 'one'", "seed = 'one' must be a whole number"),
        ("[train_gan]\nseed = 1.5", "seed = 1.5 must be a whole number"),
        ("[train_gan]\nbatch = 1", r"p.toml: \[train_gan\]: batch = 1 must be at least 2, or 0$"),
        ("[train_gan]\nstore='s.h5'\narray = {batch=[1,32]}", r"p.toml: \[train_gan\]: batch = 1 must be at least 2"),
        ("[train_gan]\npreset = 'huge'", "must be one of tiny, base, large"),
        ("[generate]\ngan = '@train_gan'", r"there is no \[train_gan\] before it; there are: none"),
        ("[train_gan]\nstore='s.h5'\nafter = ['x']", r"there is no \[x\] before it"),
        ("[train_gan]\nstore='s.h5'\narray = {seed=[0,1]}\n[generate]\ngan = '@train_gan'", "is an array; name one"),
        ("[train_gan]\nstore='s.h5'\narray = [1]", "array must be a table"),
        ("[train_gan]\nstore='gone.h5'", "gone.h5: no such file"),
        (
            "[a]\nstage='train_gan'\nstore='s.h5'\nrun='x'\n[b]\nstage='train_gan'\nstore='s.h5'\nrun='x'",
            "both write x",
        ),
    ],
)
def test_a_bad_recipe_is_refused_in_one_line_before_anything_is_made(here, calls, text, message):
    with pytest.raises(UserError, match=message) as caught:
        pipeline(text)
    assert "\n" not in str(caught.value)
    assert not calls
    assert sorted(path.name for path in here.iterdir()) == ["p.toml", "s.h5"]


def test_an_array_can_go_over_all_results_of_an_earlier_one(here):
    text = "[train_gan]\nstore='s.h5'\narray={seed=[0,1]}\n[evaluate]\nreal='s.h5'\narray={gan='@train_gan/*'}"
    Path("p.toml").write_text(text)
    plan = read_pipeline(config.Pipeline(recipe="p.toml"), "").check()
    assert [task.options.gan for task in plan.batches[1].tasks] == [
        "runs/p/train_gan/seed=0",
        "runs/p/train_gan/seed=1",
    ]
    assert plan.batches[1].after == ("train_gan",)


def test_an_array_of_one_is_still_an_array(here):
    text = "[train_gan]\nstore='s.h5'\narray={seed=[0]}\n[generate]\ngan='@train_gan/seed=0'\n"
    Path("p.toml").write_text(text + "[classify]\nstore='@generate/catalog.h5'\nmodel='@generate'\n")
    plan = read_pipeline(config.Pipeline(recipe="p.toml"), "").check()
    assert plan.tasks[1].options.gan == "runs/p/train_gan/seed=0"
    assert plan.tasks[2].options.store == "runs/p/generate/catalog.h5"


@pytest.mark.parametrize("path", sorted((ROOT / "slurm/pipelines").glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_pipeline_is_good_and_found_by_name(here, capsys, path):
    Path("data").mkdir()
    Path("data/images.small.npy").touch()
    assert door.main(["pipeline", "--recipe", path.stem, "--cluster", "local", "--dry-run"]) == 0
    assert "would be started" in capsys.readouterr().out
    assert not Path("runs").exists()


def test_a_graph_is_drawn_below_the_last_parent():
    drawn = branches([("a", ()), ("b", ("a",)), ("c", ("a", "b")), ("d", ("a",)), ("e", ())])
    assert [line for _, line in drawn] == ["a", "├─ b", "│  └─ c (and a)", "└─ d", "e"]


# What a job refuses to start with, and what it notes


def alone(run="run", seed=3, **how):
    """Submit train_gan in this process; return the exit code and the job directory."""
    options = config.TrainGan(store="s.h5", run=run, seed=seed)
    return door.submit("train_gan", options, config.Submit(cluster="debug", **how)), JobDirectory(f"{run}/job")


def test_a_result_that_was_removed_or_changed_is_made_again_and_a_file_beside_it_is_no_change(here, calls):
    alone()
    Path("run/notes.txt").write_text("of the user\n")
    alone()
    assert len(calls) == 1
    Path("run/result.txt").unlink()
    alone()
    assert len(calls) == 2
    Path("run/result.txt").write_text("something else\n")
    alone()
    assert len(calls) == 3


def test_marks_leave_out_hidden_files_and_those_that_vanish_meanwhile(here, monkeypatch):
    before = fingerprints.stamp(here)
    Path(".catalog.h5.host.7.part").touch()
    Path(".nfs0001").touch()
    assert fingerprints.stamp(here) == before
    Path("vanished").symlink_to("nowhere")
    monkeypatch.setattr(Path, "is_file", lambda path: path != here)
    assert fingerprints.stamp(here) == before


def test_a_line_that_a_full_disk_has_torn_stops_no_later_start(here, calls):
    _, job = alone()
    path = job.path / "starts.jsonl"
    path.write_bytes(path.read_bytes()[:-50])
    for noted in (1, 2):
        assert Job.of(job).run() == 0
        assert len(job.starts()) == noted


def test_a_job_that_cannot_take_its_notes_says_that_it_failed(here, calls, monkeypatch):
    def broken(job, record):
        raise OSError("stale file handle")

    monkeypatch.setattr(JobDirectory, "note_start", broken)
    code, job = alone()
    assert code == 1
    assert (job.state()["state"], job.state()["reason"]) == ("failed", "OSError: stale file handle")
    assert not calls


def test_a_job_of_one_process_forgets_that_its_submitter_was_one_of_several(here, calls, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, job = alone()
    assert (code, job.state()["state"]) == (0, "done")
    assert "WORLD_SIZE" not in os.environ
    pytest.importorskip("submitit")
    monkeypatch.setenv("RANK", "1")
    machine.join_ranks()
    assert machine.rank() == 0


@pytest.mark.parametrize("changed", ["code", "input"])
def test_a_job_refuses_code_and_input_that_changed_since_submission_unless_told_so(here, calls, monkeypatch, changed):
    monkeypatch.setattr(door.launch, "run_here", lambda fresh, records: 0)
    words = {"code": "galaxycgan's code changed since submission", "input": "--store s.h5: changed since submission"}
    for accept in (False, True):
        _, job = alone(changed="accept" if accept else "refuse")
        if changed == "code":
            monkeypatch.setattr(fingerprints, "code_mark", lambda: "other")
        else:
            Path("s.h5").write_text("other")
        assert Job.of(job).run() == (0 if accept else 2)
        if not accept:
            assert words[changed] in job.state()["reason"]
            assert not calls
            monkeypatch.undo()
            monkeypatch.chdir(here)
            monkeypatch.setattr(door.launch, "run_here", lambda fresh, records: 0)
            monkeypatch.setattr(config, "load", lambda name: lambda options, context: calls.append(name))


def test_a_job_refuses_to_run_pinned_to_fewer_cores_than_were_asked_for(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(machine, "cores", lambda: [5])
    with pytest.raises(UserError, match="pinned to 1 of 64 cores where cpus_per_task = 8"):
        machine.refuse_pinned(8)
    machine.refuse_pinned(1)
    machine.refuse_pinned(None)
    monkeypatch.setattr(machine, "cores", lambda: list(range(64)))
    machine.refuse_pinned(128)  # a machine that has fewer at all


def test_every_start_notes_machine_versions_seed_and_the_inputs_sha256(here, calls, capsys):
    Path("s.h5").write_text("galaxies")
    _, job = alone()
    (start,) = job.starts()
    assert start["inputs"]["store"]["sha256"] == fingerprints.sha256_file("s.h5")
    assert start["seed"] == 3
    assert start["cores"] == sorted(os.sched_getaffinity(0))
    assert {"torch", "numpy", "galaxycgan", "git"} <= set(start["versions"])
    assert "cores (" in capsys.readouterr().out
    assert stat.S_IMODE(job.path.stat().st_mode) == 0o700


def test_a_second_process_of_a_job_runs_the_stage_and_leaves_the_words_to_the_first(here, calls, monkeypatch):
    _, job = alone()
    before = job.state()
    calls.clear()
    monkeypatch.setenv("RANK", "1")
    assert Job.of(job).run() == 0
    assert len(calls) == 1
    assert job.state() == before


def test_a_stage_that_is_one_process_refuses_a_profile_with_several(here):
    Path("p.toml").write_text("nodes = 2")
    with pytest.raises(UserError, match="p.toml: nodes = 2, .* classify runs as one process"):
        Path("runs/train_classifier").mkdir(parents=True)
        options = config.Classify(store="s.h5")
        door.submit("classify", options, config.Submit(cluster="local", profile="p.toml"))


def test_a_job_tells_how_it_ended_though_the_disk_is_full(here, calls, monkeypatch):
    _, job = alone()

    def full(path, value):
        if (job.path / "reserve").exists():
            raise UserError(f"{path}: can't be written: No space left on device")
        write_json(path, value)

    monkeypatch.setattr(rundir, "write_json", full)
    calls.bad = "train_gan"
    assert Job.of(job).run() == 1
    assert job.state()["state"] == "failed"


# Profiles


def test_a_container_becomes_the_command_that_starts_python(here):
    Path("image.sif").touch()
    Path("p.toml").write_text('container = "image.sif"\ngpus_per_node = 1\ncontainer_args = ["--bind=/scratch"]\n')
    profile, _ = load_profile("p.toml")
    assert profile.command() == "apptainer exec --nv --bind=/scratch image.sif python"
    assert (
        dataclasses.replace(profile, gpus_per_node=None, python="/v/bin/python").command().endswith("sif /v/bin/python")
    )
    assert Profile(python="py").command() == "py"


def test_slurms_words_for_limits_and_gpus_are_understood():
    assert [minutes(text) for text in ("30:00", "2:00:00", "1-00:30:00", "UNLIMITED")] == [30, 120, 1470, None]
    assert [gpus(text) for text in ("gpu:4", "gpu:a100:4(S:0-1),nvme:1", "(null)", "gpu:a:2,gpu:b:1")] == [4, 4, 0, 3]
    texts = ("gpu:1g.10gb:7", "gpu:2080ti:4", "gpu:3090:8(S:0,1),nvme:1", "gpu", "craynetwork:4,gpu:tesla")
    assert [gpus(text) for text in texts] == [7, 4, 8, 1, 1]


def test_a_killed_driver_is_found_out_and_the_same_command_goes_on(here):
    survey = write_survey(here / "raw")
    words = ["convert", *survey, "--array", "duplicates=nearest,first"]
    code = (
        "import sys\nfrom galaxycgan.cluster import local\nimport subprocess\n"
        "local.detached = lambda *a: subprocess.Popen(['sleep', '60'], stdout=-3, stderr=-3)\n"
        "from galaxycgan.submit import main\nsys.exit(main(sys.argv[1:]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, *words, "--cluster", "local"], cwd=here, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
    job = JobDirectory("catalogs/survey/duplicates=nearest.h5.job")
    assert observe(job).state == "pending"
    os.kill(job.submission()["pid"], signal.SIGKILL)
    until(lambda: observe(job).state == "killed")
    assert "2 killed" in galaxycgan("status", "catalogs/survey", cwd=here).stdout
    again = submit(*words, "--cluster", "debug", cwd=here)
    assert again.returncode == 0, again.stderr
    assert json.loads((job.path / "state.json").read_text())["state"] == "done"
