"""One step of adversarial training, and the state that makes the next step; what it minimises is in `gan_losses`."""

import copy
import dataclasses
import functools

import numpy as np
import torch

from galaxycgan.models.averaging import move_average
from galaxycgan.models.device import autocast
from galaxycgan.models.discriminator import Discriminator
from galaxycgan.models.generator import Generator
from galaxycgan.models.recorded import Recorder
from galaxycgan.models.response import Response
from galaxycgan.randomness import make_rng, normals
from galaxycgan.training import critic_disturbance, gan_losses
from galaxycgan.training.distributed import ALONE
from galaxycgan.training.gan_losses import GALAXIES_PER_LABEL, PENALTY_EVERY
from galaxycgan.training.sampler import dihedral, symmetry

BETAS = (0.0, 0.99)
#: Above the brightest pixel of the training images, in arcsinh flux: a factor of 4.5 where it is bright.
HEADROOM = 1.5
#: The average spans a tenth of the images shown so far, at most this many.
LONGEST_AVERAGE_IMAGES = 64_000


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the step depends on beside the networks."""

    batch: int
    lr: float
    gamma: float
    seed: int
    #: How strongly critics are kept from knowing galaxies one by one, 0..1; see `training.augmentation`.
    disturbance: float = 0.0


class Trainer:
    """Generator, critic, averaged generator and their optimisers.

    Parameters
    ----------
    shape : NetworkShape
        Sizes.
    settings : Settings
        Rates and seeds.
    device : torch.device
        Where.
    dtype : torch.dtype
        Of the convolutions.
    team : Team
        The processes that share each batch.
    """

    #: Whether a generator that makes nothing real ends the run.
    stops_when_lost = True

    def __init__(self, shape, settings, device, dtype, team=ALONE):
        self.settings, self.device, self.dtype, self.team = settings, device, dtype, team
        torch.manual_seed(settings.seed)
        self.generator = Generator(shape).to(device, memory_format=torch.channels_last)
        self.critic = Discriminator(shape).to(device, memory_format=torch.channels_last)
        self.response = Response(shape.n_conditions, shape.size).to(device)
        self.averaged = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.rate, self.photometric_weight = settings.lr, gan_losses.photometric_weight(0)
        options = {}
        self.recorder = None
        if device.type == "cuda":
            # A recorded step reads what changes from step to step on the GPU.
            self.rate, self.photometric_weight = (
                torch.tensor(value, device=device) for value in (self.rate, self.photometric_weight)
            )
            options = {"fused": True, "capturable": True}
            if team.size == 1:  # messages between processes wait
                self.recorder = Recorder(device)
        self.generator_optimiser, self.critic_optimiser = (
            torch.optim.Adam(network.parameters(), lr=self.rate, betas=BETAS, **options)
            for network in (self.generator, self.critic)
        )
        self.images = 0

    @torch.no_grad()
    def start_from(self, flux, conditions, numeric, unit_njy, sky_rms, correlation, log_depth, gain):
        """Take scales, responses to labels and the noise from real images.

        Parameters
        ----------
        flux : tensor [n, band, y, x]
            Real images in flux units.
        conditions : tensor [n, n_conditions]
            Their standardised labels.
        numeric : sequence of bool
            Which of these are amounts.
        unit_njy, sky_rms : array [band]
            Flux unit in nJy; sky noise per pixel in flux units.
        correlation : array [band, 5, 5]
            Autocorrelation of the sky noise.
        log_depth : array [band, band]
            Covariance of its logarithm between images.
        gain : array [band]
            Variance of the photon noise over the flux, in flux units.
        """
        for network in (self.generator, self.averaged):
            network.flux_unit_njy.copy_(torch.as_tensor(unit_njy))
            network.noise.start_at(sky_rms, correlation, log_depth, gain)
            network.brightest.copy_(torch.asinh(flux.amax((0, 2, 3)))[:, None, None] + HEADROOM)
        self.critic.standardise_on(flux)
        self.response.learn(flux, conditions, numeric)

    @property
    def photometer(self):
        """Measures images; standardised on the training images."""
        return self.critic.photometer

    def state(self):
        """All that the next step depends on."""
        return {
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "averaged": self.averaged.state_dict(),
            "response": self.response.state_dict(),
            "generator_optimiser": self.generator_optimiser.state_dict(),
            "critic_optimiser": self.critic_optimiser.state_dict(),
            "images": self.images,
        }

    def restore(self, state):
        """Resume from `state`."""
        for name in ("generator", "critic", "averaged", "response", "generator_optimiser", "critic_optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.images = state["images"]

    def random_inputs(self):
        """Latent numbers [galaxy, latent] and white noise [galaxy, band, y, x] of this process in this step."""
        shape = self.generator.shape
        latent = self._normals("latent", shape.latent_size)
        return latent, self._normals("noise", int(np.prod(shape.white_shape))).view(-1, *shape.white_shape)

    def _normals(self, stream, size):
        """Draw for the piece of this process: first galaxies with its labels, then second ones."""
        batch, piece = self.settings.batch, self.team.local_slice(self.settings.batch)
        first = GALAXIES_PER_LABEL * self.images
        if self.device.type == "cuda":
            # A GPU would wait for the CPU's numbers. Its own depend on the step, not on how many share the batch.
            seed = int(make_rng(self.settings.seed, stream, first).integers(2**63))
            numbers = torch.Generator(self.device).manual_seed(seed)
            drawn = torch.randn(GALAXIES_PER_LABEL, batch, size, generator=numbers, device=self.device)
            return drawn[:, piece].flatten(0, 1)
        starts = (first + k * batch + piece.start for k in range(GALAXIES_PER_LABEL))
        parts = [normals(self.settings.seed, stream, start, piece.stop - piece.start, size) for start in starts]
        return torch.from_numpy(np.concatenate(parts)).to(torch.get_default_dtype())

    def step(self, flux, conditions, progress):
        """Show one batch, or this process's piece of it.

        Parameters
        ----------
        flux : tensor [batch, band, y, x]
            Real images in flux units.
        conditions : tensor [batch, n_conditions]
            Their standardised labels.
        progress : float
            Share of the run that is done, 0..1: sets the learning rate.

        Returns
        -------
        dict of tensors
            Losses and mean score difference.
        """
        self._set_rates(progress)
        latent, white = self.random_inputs()
        real = dihedral(flux, symmetry(self.settings.seed, self.images)).contiguous()
        kind, inputs = self._step_kind(), [real, conditions, latent, white]
        if self.settings.disturbance:
            inputs += self._disturbance(real, conditions)
        work = functools.partial(self._learn, kind)
        report = self.recorder(kind, work, inputs) if self.recorder else work(*inputs)
        self.images += self.settings.batch
        self._average()
        return report

    def _step_kind(self):
        """Return what a step does beside the rest.

        Returns
        -------
        penalise : bool
            Whether it takes gradient penalties.
        column : int
            Index of the label whose response is penalised; -1: none.
        """
        turn = self.images // self.settings.batch
        round_, early = divmod(turn + PENALTY_EVERY // 2, PENALTY_EVERY)
        columns = [] if early else self.columns
        return turn % PENALTY_EVERY == 0, columns[round_ % len(columns)] if columns else -1

    @functools.cached_property
    def columns(self):
        """Labels that galaxies plainly follow; asked for once, as a GPU has to be waited for."""
        return self.response.columns

    def _learn(self, kind, flux, conditions, latent, white, *disturbance):
        """Change the networks' weights by one step of a `_step_kind`; return its report."""
        (penalise, column), n = kind, len(flux)
        real = self.critic.observe(flux)
        with self._cast():
            every = conditions.repeat(GALAXIES_PER_LABEL, 1)
            noiseless, depth, surroundings = self.generator(latent, every, return_surroundings=True)
        observed = self.generator.observe(noiseless, depth, white)
        both_measured = self.photometer(observed)
        # The image critic teaches the galaxy alone. What stands around it is another in each stamp: the critic soon
        # knows the real ones by heart, and has all others fade. Photometry, blind to places, teaches those.
        fake = [self.critic.stretched(_fixed(observed[:n], surroundings[:n])), both_measured[:n]]
        measured, seen_labels = real[1], conditions
        if disturbance:
            deviates, shift = disturbance
            amount = self.settings.disturbance
            real, fake, seen_labels = critic_disturbance.both_disturbed(real, fake, conditions, deviates, amount, shift)
        report, real_scores = self._critic_step(real, [part.detach() for part in fake], seen_labels, penalise)
        # The real scores from before the critic's step are used again: good enough, and they save a forward pass.
        further, scatter = gan_losses.scatter_objective(measured, both_measured)
        if column >= 0:
            further = further + gan_losses.label_response_penalty(
                self.generator, self.response, latent[:n], conditions, noiseless[:n], column, self._cast
            )
        return report | scatter | self._generator_step(fake, real_scores, seen_labels, further)

    def _cast(self):
        """Return the context in which networks are called: convolutions in the dtype of the training."""
        return autocast(self.device, self.dtype)

    def _disturbance(self, flux, conditions):
        """Draw what this step disturbs critics with: deviates, and how far images are moved [2]."""
        n_features = self.photometer.n_features
        width = critic_disturbance.deviates_of(flux[0].numel(), n_features, conditions.shape[1])
        shift = critic_disturbance.shift_of(self.settings.seed, self.images, self.settings.disturbance)
        return self._normals("critics", width), torch.tensor(shift, device=self.device)

    def _critic_step(self, real, fake, conditions, penalise):
        gamma = self.settings.gamma if penalise else None
        loss, real_scores, report = gan_losses.critic_objective(self.critic, real, fake, conditions, gamma, self._cast)
        self._descend(self.critic_optimiser, self.critic, loss)
        return report, real_scores

    def _generator_step(self, fake, real_scores, conditions, further):
        self.critic.requires_grad_(False)  # spares the gradients of the critic's weights
        loss, report = gan_losses.generator_objective(
            self.critic, real_scores, fake, conditions, self.photometric_weight, self._cast
        )
        self._descend(self.generator_optimiser, self.generator, loss + further)
        self.critic.requires_grad_(True)
        return report

    def _descend(self, optimiser, network, loss):
        """Take one step down the gradient of a loss, the mean over the team."""
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.team.average_gradients(network)
        optimiser.step()

    def _set_rates(self, progress):
        self.rate = _changed(self.rate, self.settings.lr * rate_factor(progress))
        self.photometric_weight = _changed(self.photometric_weight, gan_losses.photometric_weight(self.images))
        for optimiser in (self.generator_optimiser, self.critic_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = self.rate

    def _average(self):
        span = max(self.settings.batch, min(self.images / 10, LONGEST_AVERAGE_IMAGES))
        move_average(self.averaged, self.generator, min(1.0, self.settings.batch / span))


def _fixed(image, part):
    """Return an image whose gradients don't reach a part of it, but through the photon noise, which hardly counts."""
    return image - (part - part.detach())


def _changed(number, value):
    """Return a value in the place of a number, which may be a tensor that others read."""
    return number.fill_(value) if isinstance(number, torch.Tensor) else value


def rate_factor(progress):
    """Return the learning rate over its maximum at a share 0..1 of the run: constant, falling over the last third."""
    return min(1.0, max(0.05, (1 - progress) * 3))
