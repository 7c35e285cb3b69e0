"""The GAN's training loop: steps until the run is done, saves so that nothing is lost, keeps a log."""

import copy
import math
import resource
import time

import torch

from galaxycgan.errors import Interrupted, UserError
from galaxycgan.files.atomic import append_record
from galaxycgan.models.release import METRICS
from galaxycgan.training.checkpoint import save_checkpoint
from galaxycgan.training.names import CHECKPOINT
from galaxycgan.training.sampler import Sampler

RECORD_EVERY_IMAGES = 2048
#: So often in a run the generator is looked at; of the ticks in the second half the best is released, see `ALIKE`.
TICKS = 20
#: Of scores that differ by no more than this share the latest counts: the rate falls towards the end.
ALIKE = 0.005
#: A generator is lost whose energy score is so many times that of real galaxies of other labels, at two ticks in a row
#: after so many images: untrained ones are at 2, those that learn at 1 or below.
LOST, LOST_TICKS, LOST_IMAGES = 2.0, 2, 20_000
#: Parts of a trainer's state whose numbers must be finite.
NETWORKS = ("generator", "critic", "averaged")


class Loop:
    """A run that can stop at any step and resume from its last checkpoint.

    Parameters
    ----------
    trainer : Trainer
        Already restored where there is a state to resume from.
    images : RealImages
        The training split.
    conditions : tensor [n, n_conditions]
        Its standardised labels.
    directory : Path
        Run directory.
    identity : dict
        What a checkpoint must share with the run; kept in it.
    config : galaxycgan.config.TrainGan
        Options.
    state : dict or None
        Checkpoint to resume from.
    look : callable, optional
        ``look(generator, images_shown)`` returns a dict of float as `Validation` does, or an empty one: ``validation``
        and ``validation_w1``, the smaller their sum the better, and ``validation_blind``, the first of a generator that
        ignores labels. ``look.curves()`` draws the log of the run.

    Attributes
    ----------
    best : dict or None
        ``images`` and ``weights`` of the generator that the validation galaxies liked best, or of a later one that they
        like as well, and the best ``score``.
    """

    def __init__(self, trainer, images, conditions, directory, identity, config, state, look=None):
        self.trainer, self.images, self.conditions = trainer, images, conditions
        self.directory, self.identity, self.config = directory, identity, config
        self.sampler = Sampler(len(conditions), config.seed)
        self.look, self.team = look, trainer.team
        self.best, self.ticked = (state["best"], state["ticked"]) if state else (None, 0)
        self.lost = state.get("lost", 0) if state else 0  # ticks in a row
        self.spent = state["seconds"] if state else {"wall": 0.0, "cpu": 0.0}
        self.started, self.cpu_started = time.monotonic(), _cpu_seconds()
        self.first_images = trainer.images

    def seconds(self):
        """Wall and CPU seconds of the whole run, earlier parts counted in; all processes work alike."""
        wall = self.spent["wall"] + time.monotonic() - self.started
        return {"wall": wall, "cpu": self.spent["cpu"] + self.team.size * (_cpu_seconds() - self.cpu_started)}

    def progress(self):
        """Share of the run that is done: of its images, or of its time where that is limited."""
        limit = 60 * self.config.max_minutes
        return max(self.trainer.images / self.config.images, self.seconds()["wall"] / limit if limit else 0.0)

    def run(self, context):
        """Step until done.

        Raises
        ------
        Interrupted
            When asked to stop; the state is saved.
        UserError
            Where losses are no longer finite, or nothing real comes any more; the last good checkpoint is kept.
        """
        saved_at = time.monotonic()
        share = self.team.largest(self.progress())[0]
        with context.progress("training", 100, "percent") as bar:
            while share < 1:
                report = self._step(share)
                # What one process decides all do: their clocks and their signals differ.
                late = time.monotonic() - saved_at >= self.config.checkpoint_every
                share, stop, late, lost = self.team.largest(self.progress(), context.stop.is_set(), late, self.lost)
                self._check(lost < LOST_TICKS)
                if self.trainer.images % RECORD_EVERY_IMAGES < self.config.batch or share >= 1:
                    ticked, record = self.ticked, self._record(report) | self._tick(min(share, 1.0))
                    if self.team.is_main:
                        append_record(self.directory / METRICS, record)
                    if self.ticked > ticked:
                        self.look.curves()
                    bar.at(min(100, round(100 * share)), _note(record))
                if stop or late:
                    self._save(report)
                    saved_at = time.monotonic()
                if stop:
                    raise Interrupted
            bar.at(100)
        self._save({}, finished=True)

    def released(self):
        """Return the generator to release: the best one, or the last where nobody looked."""
        if self.best is None:
            return self.trainer.averaged
        network = copy.deepcopy(self.trainer.averaged)
        network.load_state_dict(self.best["weights"])
        return network

    def _step(self, share):
        index = self.sampler.rows(self.trainer.images, self.config.batch)
        following = self.sampler.rows(self.trainer.images + self.config.batch, self.config.batch)
        index, following = (rows[self.team.local_slice(self.config.batch)] for rows in (index, following))
        conditions = self.conditions[torch.from_numpy(index).to(self.trainer.device)]
        return self.trainer.step(self.images.batch(index, following), conditions, share)

    def _tick(self, share):
        """Look at the generator where it is time to; keep the best."""
        if self.look is None or not self.team.is_main or int(share * TICKS) <= self.ticked:
            return {}
        self.ticked = int(share * TICKS)
        seen = self.look(self.trainer.averaged, self.trainer.images)
        energy = seen.get("validation", math.nan)
        # Both in standard deviations: how well galaxies fit their labels, and how they are distributed. The first alone
        # hardly changes once labels are obeyed, and chose generators whose rate had not fallen yet.
        score = energy + seen.get("validation_w1", math.nan)
        if self.trainer.stops_when_lost and self.trainer.images >= LOST_IMAGES:
            self.lost = self.lost + 1 if _is_lost(seen) else 0
        least = min(score, self.best["score"]) if self.best else score
        if share >= 0.5 and math.isfinite(score) and score <= (1 + ALIKE) * least:
            weights = {name: tensor.clone() for name, tensor in self.trainer.averaged.state_dict().items()}
            self.best = {"score": least, "images": self.trainer.images, "weights": weights, "lost": _is_lost(seen)}
        return seen

    def doubtful(self):
        """Return whether the generator to release is lost, though the run was too short to end for it."""
        return bool(self.best and self.best.get("lost"))

    def _save(self, report, finished=False):
        self._check(all(map(math.isfinite, self._values(report).values())))
        trained = self.trainer.state()
        # Losses are those of before the last step: it may have spoiled the weights.
        weights = (tensor for name in NETWORKS for tensor in trained.get(name, {}).values())
        self._check(all(tensor.isfinite().all() for tensor in weights))
        if not self.team.is_main:
            return
        state = {"trainer": trained, "identity": self.identity, "seconds": self.seconds()}
        state |= {"best": self.best, "ticked": self.ticked, "lost": self.lost}
        state |= {"finished": finished, "threads": torch.get_num_threads()}
        save_checkpoint(self.directory / CHECKPOINT, state)

    def _values(self, report):
        """Return a step's report, averaged over the processes, as numbers."""
        values = [value.float().reshape(1) for value in report.values()]
        if values:
            self.team.average(values)
        return {name: float(value) for name, value in zip(report, values, strict=True)}

    def _record(self, report):
        """One line of the metrics log."""
        values = self._values(report)
        self._check(all(map(math.isfinite, values.values())))
        spent = self.seconds()
        values |= {"images": self.trainer.images, "wall_s": round(spent["wall"], 1), "cpu_s": round(spent["cpu"], 1)}
        elapsed = max(time.monotonic() - self.started, 1e-9)
        values["images_per_s"] = round((self.trainer.images - self.first_images) / elapsed, 1)
        values["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        if self.trainer.device.type == "cuda":
            values["gpu_memory_mb"] = torch.cuda.max_memory_allocated(self.trainer.device) >> 20
        return values

    def _check(self, good):
        """Stop where losses or weights are no longer finite, or the generator is lost."""
        if not good:
            kept = "the checkpoint before it is kept; " if (self.directory / CHECKPOINT).exists() else ""
            raise UserError(
                f"{self.directory}: training diverged at image {self.trainer.images:,}; {kept}try a smaller --lr or a "
                "larger --gamma with --overwrite"
            )


def _is_lost(seen):
    """Tell by the scores of a look whether the generator is lost."""
    return seen.get("validation", math.nan) > LOST * seen.get("validation_blind", math.inf)


def _note(record):
    score = f", validation {record['validation']:.3f}" if "validation" in record else ""
    rate = f"{record['images_per_s']:.0f} a second"
    return f"{record['images']:,} images, {rate}, score gap {record['score_gap']:.2f}{score}"


def _cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
