"""The GAN's training loop: steps until the run is done, saves so that nothing is lost, keeps a log. Knows no store."""

import math
import resource
import time

import torch

from galaxycgan.errors import Interrupted, UserError
from galaxycgan.files import append_record
from galaxycgan.models.release import METRICS
from galaxycgan.training.checkpoint import CHECKPOINT, save_checkpoint
from galaxycgan.training.sampler import Sampler

RECORD_EVERY_IMAGES = 2048


class Loop:
    """A run that can stop at any step and go on from its last checkpoint.

    Parameters
    ----------
    trainer : Trainer
        Already restored where there is a state to go on from.
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
        Checkpoint to go on from.
    """

    def __init__(self, trainer, images, conditions, directory, identity, config, state):
        self.trainer, self.images, self.conditions = trainer, images, conditions
        self.directory, self.identity, self.config = directory, identity, config
        self.sampler = Sampler(len(conditions), config.seed)
        self.spent = state["seconds"] if state else {"wall": 0.0, "cpu": 0.0}
        self.started, self.cpu_started = time.monotonic(), _cpu_seconds()
        self.first_images = trainer.images

    def seconds(self):
        """Wall and CPU seconds of the whole run, earlier parts counted in."""
        wall = self.spent["wall"] + time.monotonic() - self.started
        return {"wall": wall, "cpu": self.spent["cpu"] + _cpu_seconds() - self.cpu_started}

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
            Where losses are no longer finite; the last good checkpoint is kept.
        """
        saved_at, recorded = time.monotonic(), self.trainer.images
        with context.progress("training", 100, "percent") as bar:
            while (share := self.progress()) < 1:
                report = self._step(share)
                if self.trainer.images - recorded >= RECORD_EVERY_IMAGES or self.progress() >= 1:
                    recorded = self.trainer.images
                    record = self._record(report)
                    append_record(self.directory / METRICS, record)
                    bar.at(min(100, round(100 * share)), f"{recorded:,} images, score gap {record['score_gap']:.2f}")
                if context.stop.is_set():
                    self._save(report)
                    raise Interrupted
                if time.monotonic() - saved_at >= self.config.checkpoint_every:
                    self._save(report)
                    saved_at = time.monotonic()
            bar.at(100)
        self._save({}, finished=True)

    def _step(self, share):
        index = self.sampler.rows(self.trainer.images, self.config.batch)
        conditions = self.conditions[torch.from_numpy(index).to(self.trainer.device)]
        following = self.sampler.rows(self.trainer.images + self.config.batch, self.config.batch)
        return self.trainer.step(self.images.batch(index, following), conditions, share)

    def _save(self, report, finished=False):
        self._refuse_divergence({name: float(value) for name, value in report.items()})
        state = {"trainer": self.trainer.state(), "identity": self.identity, "seconds": self.seconds()}
        save_checkpoint(self.directory / CHECKPOINT, state | {"finished": finished})

    def _record(self, report):
        """One line of the metrics log."""
        values = {name: float(value) for name, value in report.items()}
        self._refuse_divergence(values)
        spent = self.seconds()
        values |= {"images": self.trainer.images, "wall_s": round(spent["wall"], 1), "cpu_s": round(spent["cpu"], 1)}
        elapsed = max(time.monotonic() - self.started, 1e-9)
        values["images_per_s"] = round((self.trainer.images - self.first_images) / elapsed, 1)
        values["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        return values

    def _refuse_divergence(self, losses):
        if not all(math.isfinite(value) for value in losses.values()):
            raise UserError(
                f"{self.directory}: training diverged at image {self.trainer.images:,}; the checkpoint before it is "
                "kept; try a smaller --lr or a larger --gamma with --overwrite"
            )


def _cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
