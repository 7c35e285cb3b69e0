"""How a job stands, from its own word and Slurm's: every word of both has its state and its exit code."""

import pytest

from galaxycgan.cluster import slurm
from galaxycgan.cluster.observe import Observation, observe, worst
from galaxycgan.cluster.rundir import JobDirectory

ABOUT = {"stage": "train_gan", "cluster": "slurm", "job_id": "7", "attempt": "a", "submitted": "2026-01-01T00:00:00Z"}
RUNNING = {"state": "running", "attempt": "a", "starts": 3, "started": "2026-01-02T00:00:00Z", "host": "node1"}


class Answer(slurm.View):
    """What Slurm says of job 7: its word in the queue, and in the accounting."""

    def __init__(self, queued="", accounted=""):
        self.queued, self.said = queued, accounted

    def queue(self, clusters=""):
        return {"7": (self.queued, "Priority", "node2")} if self.queued else {}

    def accounted(self, job_id, clusters=""):
        return self.said


def seen(tmp_path, view, state, **more):
    job = JobDirectory(tmp_path / "run/job")
    job.make()
    job.write_submission(ABOUT | {"config": {}} | more)
    job.write_state(state)
    return observe(job, view)


@pytest.mark.parametrize(
    "queued, accounted, state, reason, exit_code",
    [
        ("RUNNING", "", "running", "", 0),
        ("COMPLETING", "", "running", "", 0),
        ("PENDING", "", "pending", "waits: Priority", 0),
        ("CANCELLED", "", "stopped", "cancelled", 75),
        ("", "CANCELLED", "stopped", "cancelled", 75),
        ("TIMEOUT", "", "killed", "reached its time limit before it could save", 1),
        ("", "OUT_OF_MEMORY", "killed", "used more memory than the profile's mem_gb", 1),
        ("", "NODE_FAIL", "killed", "its node failed", 1),
        ("COMPLETED", "", "killed", "ended without saying how; see the log", 1),
        ("", "BOOT_FAIL", "killed", "Slurm says BOOT_FAIL", 1),
        ("", "", "killed", "Slurm no longer lists the job", 1),
    ],
)
def test_a_job_that_believes_that_it_runs_stands_as_slurm_says(tmp_path, queued, accounted, state, reason, exit_code):
    found = seen(tmp_path, Answer(queued, accounted), RUNNING)
    assert (found.state, found.reason, found.exit_code, found.restarts) == (state, reason, exit_code, 2)


@pytest.mark.parametrize(
    "said, state, exit_code",
    [
        ({"state": "done", "exit_code": 0}, "done", 0),
        ({"state": "failed", "exit_code": 2}, "failed", 2),
        ({"state": "stopped", "exit_code": 75}, "stopped", 75),
    ],
)
def test_a_job_that_told_its_end_is_believed(tmp_path, said, state, exit_code):
    found = seen(tmp_path, Answer("", "NODE_FAIL"), RUNNING | said | {"finished": "2026-01-03T00:00:00Z"})
    assert (found.state, found.exit_code, found.since) == (state, exit_code, "2026-01-03T00:00:00Z")


def test_the_end_of_an_earlier_submission_is_not_this_ones(tmp_path):
    old = RUNNING | {"state": "done", "attempt": "earlier", "exit_code": 0, "finished": "2026-01-03T00:00:00Z"}
    found = seen(tmp_path, Answer("PENDING"), old)
    assert (found.state, found.exit_code, found.since) == ("pending", 0, ABOUT["submitted"])


def test_a_job_that_the_user_cancelled_was_not_killed(tmp_path):
    found = seen(tmp_path, Answer("", "TIMEOUT"), RUNNING, cancelled="2026-01-03T00:00:00Z")
    assert (found.state, found.reason, found.exit_code) == ("stopped", "cancelled", 75)


@pytest.mark.parametrize(
    "codes, code", [([0, 0], 0), ([0, 75], 75), ([75, 0, 1, 2], 1), ([0, 2, 1], 2), ([], 0), ([75, 2], 2)]
)
def test_the_first_failure_stands_for_many_jobs(codes, code):
    assert worst([Observation("", exit_code=each) for each in codes]) == code
