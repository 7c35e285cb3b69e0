"""The job that a cluster runs: one stage, called as its submission says.

A `Job` holds arguments only and is pickled by name; all state lies on disk, where the stage finds it again. So the
original pickle may run any number of times: after a time limit, a requeue, a lost node.
"""

import contextlib
import dataclasses
import datetime
import functools
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback

from galaxycgan import config
from galaxycgan.cluster import fingerprints, guard, machine, ready, slurm, stages
from galaxycgan.cluster.process import process_start
from galaxycgan.cluster.rundir import JobDirectory, result_of
from galaxycgan.errors import EXIT_FAILED, EXIT_MISTAKE, EXIT_STOPPED, Interrupted, UserError

#: Seconds that a restarted job waits for its predecessor: after a lost node Slurm may start it while the other still
#: runs, where only the contact to the node was lost.
TAKE_OVER_S = 1800.0

#: Pauses between attempts to be queued again while Slurm's controller gives no answer.
REQUEUE_PAUSES_S = (1.0, 4.0, 10.0)

OUT_OF_TIME = (
    "out of time: this stage can't resume where it was; raise time_minutes in the profile, or make a catalog in shards"
)

#: Free space below which a failure is most likely one of a full disk, in bytes.
SCARCE_BYTES = 16 << 20


def now():
    """Return the time as ISO 8601 UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclasses.dataclass(frozen=True)
class Job:
    """One stage of one submission.

    Attributes
    ----------
    stage : str
        Key of `config.STAGES`.
    options : dict
        Fields of the stage's dataclass.
    directory : str
        The job directory, absolute.
    created : str
        ISO time of the first submission: goes into the files that the stage writes.
    attempt : str
        Names this submission; a job whose directory was submitted anew since then does nothing.
    """

    stage: str
    options: dict
    directory: str
    created: str
    attempt: str

    @classmethod
    def of(cls, directory):
        """Return the job that a directory's submission.json describes."""
        said = directory.submission()
        path = str(directory.path.absolute())
        return cls(said["stage"], said["config"], path, said["created"], said["attempt"])

    def __call__(self):
        """Run under submitit; the process's exit code tells Slurm how it went.

        The output goes to the log directly: srun gives unbuffered tasks a terminal, which would make progress a bar.
        """
        machine.join_ranks()
        directory = JobDirectory(self.directory)
        path = directory.path / f"log.rank{machine.rank()}.txt" if machine.rank() else directory.log
        with open(path, "ab") as log:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if code := self.run():
            raise SystemExit(code)

    def checkpoint(self):
        """Return what submitit queues again: the same job."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(dataclasses.replace(self))

    def run(self, stop=None):
        """Run the stage, keeping state.json and the log.

        Parameters
        ----------
        stop : threading.Event, optional
            Makes the job save and end when set, as signals do; these set it, too.

        Returns
        -------
        int
            0 done, 2 a user's mistake, 1 failed, 75 stopped with its state saved, 85 the same, to be queued again.
        """
        directory = JobDirectory(self.directory)
        if machine.rank():
            return self._follow_first_rank(directory)
        with contextlib.ExitStack() as held:
            try:
                self._take_over(directory, held)
            except UserError as error:
                print(mistake_line(str(error)), file=sys.stderr, flush=True)
                return EXIT_FAILED
            submission = directory.submission()
            if submission.get("attempt") != self.attempt:
                print(f"{self.directory}: submitted anew since this job was queued; nothing to do", flush=True)
                return 0
            return self._run_stage(directory, submission, stop)

    def _follow_first_rank(self, directory):
        """Run the stage as one of several processes: the first one keeps state.json and asks for the next start.

        A process that is asked to stop ends well: a bad end would make srun kill the first one while it saves.
        """
        from galaxycgan.context import Context

        if directory.submission().get("attempt") != self.attempt:
            return 0
        context = Context(created=self.created)
        with stopping_signals(context), contextlib.suppress(Interrupted):
            self._load_stage(directory.state())(context)
        return 0

    def _take_over(self, directory, held):
        """Be the only one that runs the stage, once an earlier start of it has ended."""
        try:
            held.enter_context(directory.hold("run", 0.0))
        except UserError:
            print("an earlier start of this job still runs: waiting until it ends", flush=True)
            ready.release()  # it may be long, and submitit knows what to do about a warning
            held.enter_context(directory.hold("run", TAKE_OVER_S))

    def _start(self, directory, before):
        """Note that the job runs, and on what."""
        starts = before.get("starts", 0) + 1
        where = f"job {slurm_job}" if (slurm_job := slurm_job_id()) else f"process {os.getpid()}"
        host = socket.gethostname()
        print(
            f"--- {now()} {self.stage} on {host}, {where}, {machine.describe_machine()}, start {starts} ---", flush=True
        )
        same = before.get("attempt") == self.attempt
        directory.keep_reserve()
        directory.update_state(
            state="running", attempt=self.attempt, starts=starts, started=now(), finished=None, exit_code=None,
            reason="", host=host, pid=os.getpid(), pid_start=process_start(os.getpid()), job_id=slurm_job,
            called=before.get("called") if same else None,
            code=before["code"] if same and before.get("code") else fingerprints.code_mark(),
        )  # fmt: skip

    def _note(self, directory):
        """Note what this start found: machine, versions, input."""
        options = config.COMMANDS[self.stage][0](**self.options)
        before = directory.starts()
        paths = stages.inputs(self.stage, options)
        directory.note_start(
            {
                "started": directory.state()["started"],
                "host": socket.gethostname(),
                "job_id": slurm_job_id(),
                "ranks": int(os.environ.get("WORLD_SIZE", "1")),
                "cores": machine.cores(),
                "devices": machine.devices(),
                "memory_gib": round(machine.memory_gib(), 2),
                "python": sys.executable,
                "versions": fingerprints.versions(),
                "code": fingerprints.code_mark(),
                "seed": self.options.get("seed"),
                "inputs": fingerprints.input_records(paths, before[-1]["inputs"] if before else {}),
            }
        )

    def _load_stage(self, state):
        """Import the stage; return it as a function of the context.

        Parameters
        ----------
        state : dict
            state.json, with the number of the start that first called the stage of this submission.
        """
        options = dict(self.options)
        called = state.get("called") if state.get("attempt") == self.attempt else None
        if called and called < state["starts"] and self.stage in stages.KEEP_PROGRESS:
            options["overwrite"] = False  # an earlier start has cleared away; what lies there now is to resume from
        return functools.partial(config.load(self.stage), config.COMMANDS[self.stage][0](**options))

    def _run_stage(self, directory, submission, stop):
        from galaxycgan.context import Context

        context = Context(created=self.created) if stop is None else Context(created=self.created, stop=stop)
        with stopping_signals(context) as requeue:
            try:
                earlier = directory.state()
                self._start(directory, earlier)
                guard.check_start(directory, submission, earlier)
                self._note(directory)
                state = directory.state()
                stage = self._load_stage(state)
                context.check()  # all this may take longer than a preempted job has
                directory.update_state(called=state["called"] or state["starts"])
                stage(context)
            except Interrupted:
                return self._interrupted(directory, requeue)
            except UserError as error:
                return _mistaken(directory, error)
            except KeyboardInterrupt:
                _finish(directory, "stopped", EXIT_STOPPED, "interrupted before it could save")
                raise
            except BaseException as error:
                words = (str(error).splitlines() or [""])[0][:300]
                _finish(directory, "failed", EXIT_FAILED, f"{type(error).__name__}: {words}{_scarce(directory)}")
                traceback.print_exc(file=sys.stdout)
                sys.stdout.flush()
                return EXIT_FAILED
        options = config.COMMANDS[self.stage][0](**self.options)
        _finish(directory, "done", 0, "", result=stages.result_marks(self.stage, options))
        return 0

    def _interrupted(self, directory, how_to_requeue):
        """End a stage that has saved its state: to be queued again after Slurm's warning signal, else to rest."""
        requeue = None if directory.submission().get("cancelled") else how_to_requeue()
        if requeue is None:
            print("stopped as asked, state saved", flush=True)
            _finish(directory, "stopped", EXIT_STOPPED, "asked to stop")
            return EXIT_STOPPED
        if not stages.keeps_progress(self.stage, self.options) and not slurm.preempted(slurm_job_id()):
            # It would start from the beginning, run into the same limit, and be queued again for ever.
            print(mistake_line(OUT_OF_TIME), file=sys.stderr, flush=True)
            _finish(directory, "failed", EXIT_FAILED, OUT_OF_TIME)
            return EXIT_FAILED
        print("warned of the time limit or of preemption: state saved, to be queued again", flush=True)
        directory.update_state(state="pending", reason="time limit or preemption: queued again")
        for pause_s in (*REQUEUE_PAUSES_S, None):
            try:
                requeue()  # leaves through SystemExit where it succeeds
            except FileNotFoundError:
                return slurm.EXIT_REQUEUE
            except Exception as error:  # the controller may be away for a moment
                if pause_s is None:
                    _finish(directory, "stopped", EXIT_STOPPED, f"time limit or preemption, not queued again: {error}")
                else:
                    time.sleep(pause_s)
        return EXIT_STOPPED


def _mistaken(directory, error):
    _finish(directory, "failed", EXIT_MISTAKE, str(error))
    print(mistake_line(str(error)), file=sys.stderr, flush=True)
    return EXIT_MISTAKE


def _scarce(directory):
    """Return words about a full disk, '' where there is room: not all libraries say what made them fail."""
    free = shutil.disk_usage(directory.path).free
    return f" (only {free / 2**20:.1f} MiB are free in {result_of(directory)})" if free < SCARCE_BYTES else ""


def _finish(directory, state, exit_code, reason, **more):
    directory.update_state(state=state, exit_code=exit_code, reason=reason, finished=now(), **more)


def mistake_line(reason):
    """Return the line of the log that tells a user's mistake."""
    return f"error: {reason}"


def slurm_job_id():
    """Return the number of the Slurm job that this process belongs to, None outside of submitit's Slurm jobs."""
    if not machine.in_slurm():
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID")


@contextlib.contextmanager
def stopping_signals(context):
    """Let SIGTERM, SIGINT and SIGUSR2 set `context.stop` while the block runs.

    Slurm sends SIGUSR2 some time before a job's limit or preemption. submitit's own handler would checkpoint and leave
    in the midst of whatever the stage does; it is kept for afterwards instead. Most clusters send a preempted job
    SIGTERM alone, and do not queue it again when it ends by itself within the grace time: then it has to ask for it.

    Yields
    ------
    callable
        Gives, once the stage has ended, the function that queues the job again; None where Slurm does not expect it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
    previous = {number: signal.getsignal(number) for number in numbers}
    warned = threading.Event()

    def warn(number, frame):
        warned.set()
        context.stop.set()

    def requeue():
        handler, job_id = previous[signal.SIGUSR2], slurm_job_id()
        if job_id and callable(handler) and (warned.is_set() or slurm.preempted(job_id)):
            return lambda: handler(signal.SIGUSR2, None)
        return None

    context.listen()
    signal.signal(signal.SIGUSR2, warn)
    ready.release()
    try:
        yield requeue
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
