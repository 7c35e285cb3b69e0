"""The training of 2018, step by step: a critic that predicts labels, minibatch discrimination. Kept to compare with."""

import copy

import numpy as np
import torch
import torch.nn.functional as F

from galaxycgan.errors import UserError
from galaxycgan.models.baseline_2018 import AncestorCritic, AncestorGenerator, to_display
from galaxycgan.models.device import autocast
from galaxycgan.models.photometer import Photometer
from galaxycgan.randomness import normals
from galaxycgan.training.distributed import ALONE

#: Weight of real against generated beside the labels' error, and the critic's rate over the generator's.
REAL_OR_NOT = 50.0
CRITIC_RATE = 0.25
BETAS = (0.5, 0.999)


class PredictorTrainer:
    """Generator and label-predicting critic; has the interface of `adversarial.Trainer`.

    The label enters through the critic's prediction alone (compare Odena et al. 2016, arXiv:1610.09585): the score that
    tells real from generated never sees it.

    Parameters
    ----------
    As `adversarial.Trainer`.
    """

    #: Its galaxies are far from real ones all along.
    stops_when_lost = False
    #: Steps run as written.
    recorder = None

    def __init__(self, shape, settings, device, dtype, team=ALONE):
        if team.size > 1:
            raise UserError("--objective predictor compares the images of a batch: it trains in one process")
        self.settings, self.device, self.dtype, self.team = settings, device, dtype, team
        torch.manual_seed(settings.seed)
        self.generator = AncestorGenerator(shape).to(device, memory_format=torch.channels_last)
        self.critic = AncestorCritic(shape).to(device, memory_format=torch.channels_last)
        self.photometer = Photometer(shape.n_bands, shape.size).to(device)
        self.generator_optimiser = torch.optim.Adam(self.generator.parameters(), lr=settings.lr, betas=BETAS)
        rate = CRITIC_RATE * settings.lr
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), lr=rate, betas=BETAS)
        self.images = 0

    @property
    def averaged(self):
        """The generator as it is: nothing is averaged."""
        return self.generator

    @torch.no_grad()
    def start_from(self, flux, conditions, numeric, unit_njy, *noise):
        """Take the flux unit, and the scales that the validation measures with, from real images."""
        self.generator.flux_unit_njy.copy_(torch.as_tensor(unit_njy))
        self.photometer.standardise_on(flux)

    def state(self):
        """All that the next step depends on."""
        parts = ("generator", "critic", "photometer", "generator_optimiser", "critic_optimiser")
        return {name: copy.copy(getattr(self, name).state_dict()) for name in parts} | {"images": self.images}

    def restore(self, state):
        """Resume from `state`."""
        for name in ("generator", "critic", "photometer", "generator_optimiser", "critic_optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.images = state["images"]

    def step(self, flux, conditions, progress):
        """Show one batch; the rate stays as it is whatever the progress."""
        self.generator.train()
        latent = normals(self.settings.seed, "latent", self.images, len(flux), self.generator.shape.latent_size)
        latent = torch.from_numpy(np.ascontiguousarray(latent)).to(self.device)
        real = to_display(flux * self.generator.flux_unit_njy[:, None, None])
        with autocast(self.device, self.dtype):
            fake = self.generator.pixels(latent, conditions)
        report = self._critic_step(real, fake.detach(), conditions) | self._generator_step(real, fake, conditions)
        self.images += self.settings.batch
        self.generator.eval()  # the running means from here on, as a user of the generator gets them
        return report

    def _critic_step(self, real, fake, conditions):
        with autocast(self.device, self.dtype):
            labels, logits = self.critic(torch.cat([real, fake]))
        real_logits, fake_logits = logits.chunk(2)
        adversarial = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
        predicted = F.mse_loss(labels[: len(real)], conditions)
        self.critic_optimiser.zero_grad(set_to_none=True)
        (REAL_OR_NOT * adversarial + predicted).backward()
        self.critic_optimiser.step()
        gap = (real_logits - fake_logits).mean().detach()
        return {"critic_loss": adversarial.detach(), "score_gap": gap, "label_error": predicted.detach()}

    def _generator_step(self, real, fake, conditions):
        self.critic.requires_grad_(False)
        with autocast(self.device, self.dtype):
            labels, logits = self.critic(torch.cat([real, fake]))
        adversarial = F.softplus(-logits[len(real) :]).mean()
        loss = REAL_OR_NOT * adversarial + F.mse_loss(labels[len(real) :], conditions)
        self.generator_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.generator_optimiser.step()
        self.critic.requires_grad_(True)
        return {"generator_loss": adversarial.detach()}
