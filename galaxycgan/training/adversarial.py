"""One step of adversarial training, and the state that makes the next step. Knows no files."""

import copy
import dataclasses
import functools

import numpy as np
import torch

from galaxycgan.models.averaging import move_average
from galaxycgan.models.blocks import arcsinh
from galaxycgan.models.compiled import compile_network, input_gradients, weight_gradients
from galaxycgan.models.device import autocast
from galaxycgan.models.discriminator import Discriminator
from galaxycgan.models.generator import Generator
from galaxycgan.models.losses import critic_loss, energy_score, generator_loss, gradient_penalty
from galaxycgan.models.recorded import Recorder
from galaxycgan.models.response import STEP, Response
from galaxycgan.randomness import make_rng, normals
from galaxycgan.training import critic_disturbance
from galaxycgan.training.distributed import ALONE
from galaxycgan.training.sampler import dihedral, symmetry

#: Gradient penalties cost as much as two further steps, so they are taken every fourth one, four times as heavy (lazy
#: regularisation, Karras et al. 2020, arXiv:1912.04958).
PENALTY_EVERY = 4
BETAS = (0.0, 0.99)
#: Weight of the photometric critic's loss beside the image critic's in what the generator minimises, and the images
#: shown from which on it falls with their number: the longer it looks, the more it draws galaxies together.
PHOTOMETRIC_WEIGHT, FULL_WEIGHT_IMAGES = 0.1, 100_000
#: Weight of the photometry's energy score in the same sum. It takes a second galaxy with each label, which makes a step
#: half as long again. At half this weight the critics have the upper hand: galaxies scatter too little at fixed labels.
SCORE_WEIGHT = 5.0
GALAXIES_PER_LABEL = 2
#: Weight of galaxies that don't follow their labels; looked for as often as the gradient penalty, in another step.
RESPONSE_WEIGHT = 5.0
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
        self.rate, self.photometric_weight = settings.lr, PHOTOMETRIC_WEIGHT
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

    def compile(self, backend="inductor"):
        """Have torch.compile fuse the operations of generator and critic; see `compile_network`."""
        latent, white = self.random_inputs()
        conditions = torch.randn(len(latent), self.generator.shape.n_conditions, device=self.device)
        with torch.no_grad(), autocast(self.device, self.dtype):
            seen = self.critic.observe(self.generator.observe(*self.generator(latent, conditions), white))
        some = len(latent) // GALAXIES_PER_LABEL

        # As the loss does, these look at bright and faint pixels alike.
        def paints(call):
            flux, _, surroundings = call(latent, conditions, return_surroundings=True)
            return (arcsinh(flux) + arcsinh(surroundings)).square().mean()

        def judges(call, images=seen):
            return call(*images, conditions[: len(images[0])]).square().mean()

        with autocast(self.device, self.dtype):
            compile_network(self.generator, [weight_gradients(self.generator, paints)], backend)
            # For its own step it sees real and generated galaxies; for the generator's, these alone.
            first = input_gradients(self.critic, [part[:some] for part in seen], judges)
            compile_network(self.critic, [weight_gradients(self.critic, judges), first], backend)

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
        """Go on from `state`."""
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
        """Return what this step does beside what all do: a gradient penalty or not, and the label looked for or -1."""
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
        with autocast(self.device, self.dtype):
            every = conditions.repeat(GALAXIES_PER_LABEL, 1)
            noiseless, depth, surroundings = self.generator(latent, every, return_surroundings=True)
        observed = self.generator.observe(noiseless, depth, white)
        both_measured = self.photometer(observed)
        # The image critic teaches the galaxy alone. What stands around it is another in each stamp: the critic soon
        # knows the real ones by heart, and has all others fade. Photometry, blind to places, teaches those.
        fake = [self.critic.stretched(_fixed(observed[:n], surroundings[:n])), both_measured[:n]]
        measured, told = real[1], conditions
        if disturbance:
            deviates, shift = disturbance
            amount = self.settings.disturbance
            real, fake, told = critic_disturbance.both_disturbed(real, fake, conditions, deviates, amount, shift)
        report, real_scores = self._critic_step(real, [part.detach() for part in fake], told, penalise)
        # The real scores are those of before the critic's step: as good to compare with, and a pass less.
        energy = energy_score(measured.detach(), *both_measured.chunk(GALAXIES_PER_LABEL))
        report["energy_score"], further = energy.detach(), SCORE_WEIGHT * energy
        if column >= 0:
            disobeyed = self._label_response_penalty(latent[:n], conditions, noiseless[:n], column)
            further = further + RESPONSE_WEIGHT * disobeyed
        return report | self._generator_step(fake, real_scores, told, further)

    def _disturbance(self, flux, conditions):
        """Draw what this step disturbs critics with: deviates, and how far images are moved [2]."""
        n_features = self.photometer.n_features
        width = critic_disturbance.deviates_of(flux[0].numel(), n_features, conditions.shape[1])
        shift = critic_disturbance.shift_of(self.settings.seed, self.images, self.settings.disturbance)
        return self._normals("critics", width), torch.tensor(shift, device=self.device)

    def _critic_step(self, real, fake, conditions, penalise):
        if penalise:
            for seen in (*real, *fake):
                seen.requires_grad_(True)
        both = [torch.cat(pair) for pair in zip(real, fake, strict=True)]
        # torch.compile knows no second derivatives, which the penalty needs: forward is the network as written.
        critic = self.critic.forward if penalise else self.critic
        with autocast(self.device, self.dtype):
            scores = critic(*both, torch.cat([conditions, conditions]))
        real_scores, fake_scores = scores.chunk(2, dim=1)
        losses = critic_loss(real_scores, fake_scores)
        gaps = (real_scores - fake_scores).mean(1).detach()
        report = {"critic_loss": losses[0].detach(), "score_gap": gaps[0], "photometric_gap": gaps[1]}
        loss = losses[0] + losses[1]
        if penalise:
            # Each critic is kept smooth in what it sees: pixels, and measurements.
            penalties = [gradient_penalty(scores[k], real[k], fake[k]) for k in range(2)]
            loss = loss + PENALTY_EVERY / 2 * self.settings.gamma * (penalties[0] + penalties[1])
            report["penalty"] = penalties[0].detach()
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.team.average_gradients(self.critic)
        self.critic_optimiser.step()
        return report, real_scores.detach()

    def _label_response_penalty(self, latent, conditions, noiseless, column):
        """Return how little these galaxies follow a label."""
        moved = conditions.clone()
        moved[:, column] += STEP
        with autocast(self.device, self.dtype):
            # Another size of batch than torch.compile was told of: the network as written.
            other, _ = self.generator.forward(latent, moved)
        return PENALTY_EVERY * self.response.penalty(noiseless, other, column)

    def _generator_step(self, fake, real_scores, conditions, further):
        self.critic.requires_grad_(False)  # spares the gradients of the critic's weights
        with autocast(self.device, self.dtype):
            losses = generator_loss(real_scores, self.critic(*fake, conditions))
        loss = losses[0] + self.photometric_weight * losses[1] + further
        self.generator_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.team.average_gradients(self.generator)
        self.generator_optimiser.step()
        self.critic.requires_grad_(True)
        return {"generator_loss": losses[0].detach()}

    def _set_rates(self, progress):
        self.rate = _changed(self.rate, self.settings.lr * rate_factor(progress))
        weight = PHOTOMETRIC_WEIGHT * min(1.0, FULL_WEIGHT_IMAGES / max(self.images, 1))
        self.photometric_weight = _changed(self.photometric_weight, weight)
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
