"""The networks: shapes for any survey, noise in linear flux, labels that reach the score."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from galaxycgan.errors import UserError
from galaxycgan.evaluation.metrics.distances import power_spectra
from galaxycgan.images.noise_measurement import noise_of
from galaxycgan.images.photometry import noise_autocorrelation
from galaxycgan.models.averaging import move_average
from galaxycgan.models.classifier import PRESETS, Classifier, dropped_quarter
from galaxycgan.models.conditioning import Conditioning
from galaxycgan.models.discriminator import Discriminator
from galaxycgan.models.generator import KINDS, GalaxyTypes, Generator, NetworkShape
from galaxycgan.models.large_kernel import LargeKernel, large_convolution
from galaxycgan.models.neighbours import latent_neighbours
from galaxycgan.models.noise import CorrelatedNoise
from galaxycgan.models.photometer import Photometer
from galaxycgan.models.profile import Profile
from galaxycgan.training.gan_losses import critic_loss, energy_score, generator_loss, gradient_penalty
from galaxycgan.training.sampler import dihedral


def shape_for(n_bands=3, size=50, n_conditions=2):
    return NetworkShape.preset("tiny", n_bands, size, n_conditions)


@pytest.mark.parametrize("n_bands, size, n_conditions", [(1, 32, 1), (3, 50, 2), (5, 64, 3), (2, 51, 2), (4, 128, 2)])
def test_networks_take_any_bands_sizes_and_labels(n_bands, size, n_conditions):
    shape = shape_for(n_bands, size, n_conditions)
    generator, critic = Generator(shape), Discriminator(shape)
    conditions = torch.randn(3, n_conditions)
    flux, depth = generator(torch.randn(3, shape.latent_size), conditions)
    assert flux.shape == (3, n_bands, size, size)
    observed = generator.observe(flux, depth, torch.randn(3, *shape.white_shape))
    assert observed.shape == flux.shape
    scores = critic(*critic.observe(observed), conditions)
    assert scores.shape == (2, 3) and scores.isfinite().all()


def test_base_preset_has_the_size_that_the_readme_tells():
    shape = NetworkShape.preset("base", 3, 50, 2)
    count = [sum(p.numel() for p in network.parameters()) / 1e6 for network in (Generator(shape), Discriminator(shape))]
    assert count == pytest.approx([1.0, 0.7], abs=0.06)


@torch.no_grad()
def test_the_mean_of_many_noisy_draws_is_the_noiseless_image():
    torch.manual_seed(0)
    noise = CorrelatedNoise(2)
    noise.start_at(np.array([0.5, 0.4]), np.stack([rho_of(0.18)] * 2), np.zeros((2, 2)), np.full(2, 0.05))
    noise.log_gain.fill_(-2.0)
    flux = torch.full((1, 2, 24, 24), 30.0)
    total = torch.zeros_like(flux)
    for _ in range(1000):
        total += noise(flux, torch.zeros(1, 2), torch.randn(1, 2, 28, 28))
    mean = total / 1000
    assert mean.mean().item() == pytest.approx(30.0, rel=0.005)
    assert (mean / flux - 1).abs().max().item() < 0.012  # single pixels: 5 sigma of their own scatter


def rho_of(lag1):
    rho = np.zeros((5, 5))
    rho[2, 2] = 1
    rho[2, 1] = rho[2, 3] = rho[1, 2] = rho[3, 2] = lag1
    rho[1, 1] = rho[1, 3] = rho[3, 1] = rho[3, 3] = lag1**2
    return rho


@torch.no_grad()
def test_pixels_below_the_sky_have_the_noise_of_the_sky():
    noise = CorrelatedNoise(1)
    noise.start_at(np.array([2.0]), rho_of(0.0)[None], np.zeros((1, 1)), np.full(1, 0.5))
    found = noise.sigma(torch.tensor([-50.0, 0.0, 10.0]).view(1, 1, 1, 3), torch.zeros(1, 1))
    assert found.flatten().tolist() == pytest.approx([2, 2, 3], rel=1e-5)


@torch.no_grad()
def test_the_noise_layer_starts_with_the_measured_amplitude_and_correlation():
    torch.manual_seed(0)
    noise = CorrelatedNoise(1)
    noise.start_at(np.array([2.0]), rho_of(0.18)[None], np.zeros((1, 1)), np.full(1, 0.05))
    noise.log_gain.fill_(-20.0)
    drawn = noise(torch.zeros(200, 1, 50, 50), torch.zeros(200, 1), torch.randn(200, 1, 54, 54)).numpy()
    sky_rms, rho, _, gain = noise_of(drawn)
    assert sky_rms[0] == pytest.approx(2.0, rel=0.02)
    assert rho[0, 2, 3] == pytest.approx(0.18, abs=0.02) and rho[0, 1, 2] == pytest.approx(0.18, abs=0.02)
    told = noise.correlation()[0].numpy()
    assert told[4, 5] == pytest.approx(noise_autocorrelation(drawn)[0, 2, 3], abs=0.02)


@torch.no_grad()
def test_each_band_of_each_image_gets_its_own_white_noise_by_its_own_filter():
    torch.manual_seed(0)
    noise = CorrelatedNoise(2)
    noise.kernel_elements.copy_(torch.rand(2, 6))
    white, kernel = torch.randn(3, 2, 36, 36), noise.kernel()
    sigma = torch.tensor([2.0, 3.0])
    noise.log_sky.copy_(sigma.log())
    noise.log_gain.fill_(-30.0)
    drawn = noise(torch.zeros(3, 2, 32, 32), torch.zeros(3, 2), white)
    for image in range(3):
        for band in range(2):
            expected = sigma[band] * F.conv2d(white[image, band][None, None], kernel[band][None])[0, 0]
            torch.testing.assert_close(drawn[image, band], expected, rtol=1e-5, atol=1e-5)
    assert kernel.square().sum((1, 2, 3)).tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("lags", [(0.0, 0.0), (0.15, 0.01), (0.09, -0.07)])
def test_noise_is_told_from_faint_sources_that_nobody_sees(lags):
    random = np.random.default_rng(2)
    kernel = np.fft.fftfreq(64)
    line = np.sqrt(1 + 2 * sum(rho * np.cos(2 * np.pi * (k + 1) * kernel) for k, rho in enumerate(lags)))
    white = np.fft.fft2(random.normal(size=(600, 64, 64)))
    noise = 3.0 * np.fft.ifft2(white * line[:, None] * line).real[:, :50, :50]
    # A PSF 3.7 pixels wide, points of all brightnesses anywhere, and a galaxy in the middle.
    psf = np.exp(-2 * (np.pi * 1.57) ** 2 * (kernel[:, None] ** 2 + kernel**2))
    sky = random.pareto(1.5, (600, 64, 64)) * (random.random((600, 64, 64)) < 0.02)
    light = np.fft.ifft2(np.fft.fft2(20 * sky) * psf).real[:, :50, :50]
    x, y = np.meshgrid(*[np.arange(50) - 24.5] * 2)
    images = noise + light + random.lognormal(3, 1, (600, 1, 1)) * np.exp(-np.hypot(x, y) / 3)
    plain = noise_autocorrelation(images[:, None])[0]
    assert plain[2, 4] > lags[1] + 0.05  # what is there to be told
    sky_rms, rho, _, _ = noise_of(images[:, None])
    assert sky_rms[0] == pytest.approx(3.0, rel=0.03)
    assert rho[0, 2, 3:] == pytest.approx(lags, abs=0.02) and rho[0, 3:, 2] == pytest.approx(lags, abs=0.02)
    assert rho[0, 3, 3] == pytest.approx(lags[0] ** 2, abs=0.01)


@pytest.mark.parametrize("truth", [0.004, 0.05])
def test_noise_of_tells_photon_noise_from_the_light_of_galaxies(truth):
    random = np.random.default_rng(3)
    x, y = np.meshgrid(*[np.arange(50) - 24.5] * 2)
    width = random.uniform(1.6, 6, (300, 1, 1, 1))  # never sharper than a PSF of 3.8 px
    light = random.lognormal(4, 1, (300, 1, 1, 1)) * np.exp(-(x**2 + y**2) / (2 * width**2))
    images = light + random.normal(size=light.shape) * np.sqrt(4 + truth * light)
    assert noise_of(images)[3][0] == pytest.approx(truth, rel=0.3)
    assert noise_of(random.normal(size=(50, 1, 50, 50)))[3][0] < 1e-4


def test_a_sky_of_nothing_has_no_photon_noise():
    """Of pixels that are 0 below a threshold, or were never noisy, no noise can be told to rise with the flux."""
    random = np.random.default_rng(8)
    y, x = np.indices((50, 50)) - 24.5
    blob = np.exp(-(x**2 + y**2) / 40)
    images = random.uniform(50, 3000, (300, 1, 1, 1)) * blob
    noisy = images + random.normal(size=images.shape)
    for each in (np.where(noisy < 3, 0, noisy), np.where(blob > 1e-3, images, 0)):
        sky_rms, _, _, gain = noise_of(each.astype(np.float32))
        assert (sky_rms > 0).all() and (gain < 1e-4 * sky_rms).all()


def test_noise_of_raw_pixels_of_any_size_on_a_sky_that_nobody_took_off():
    random = np.random.default_rng(3)
    x, y = np.meshgrid(*[np.arange(50) - 24.5] * 2)
    light = random.lognormal(4, 1, (300, 1, 1, 1)) * np.exp(-(x**2 + y**2) / 32)
    images = light + random.normal(size=light.shape) * np.sqrt(4 + 0.05 * light)
    sky_rms, _, _, gain = noise_of(images)
    for scale, sky in ((1.0, 100.0), (1e-18, 0.0), (1e-18, 1e-16)):
        rms, _, _, its_gain = noise_of((scale * images + sky).astype(np.float32))
        assert rms / scale == pytest.approx(sky_rms, rel=1e-3)
        assert its_gain / scale == pytest.approx(gain, rel=0.05)
    assert np.isfinite(noise_of(np.zeros((20, 1, 50, 50), np.float32))[0]).all()


def test_noise_of_survives_images_clipped_at_zero():
    clipped = np.maximum(np.random.default_rng(0).normal(-1, 2, (20, 3, 50, 50)), 0).astype(np.float32)
    sky_rms, rho, log_depth, _ = noise_of(clipped)
    assert (sky_rms > 0.1).all() and np.isfinite(rho).all() and np.isfinite(log_depth).all()


@torch.no_grad()
def test_the_noise_layer_draws_the_depths_of_a_survey_and_how_bands_vary_together():
    random = np.random.default_rng(0)
    truth = np.array([[0.04, 0.02], [0.02, 0.01]])
    depth = np.exp(random.multivariate_normal([0, 0], truth, 600))
    survey = (depth[..., None, None] * random.normal(0, 2, (600, 2, 50, 50))).astype(np.float32)
    sky_rms, rho, log_depth, gain = noise_of(survey)
    np.testing.assert_allclose(log_depth, truth, atol=0.004)
    noise = CorrelatedNoise(2)
    noise.start_at(sky_rms, rho, log_depth, gain)
    drawn = torch.log(noise.sky_sigma(torch.from_numpy(random.normal(size=(20_000, 2))).float())).numpy()
    np.testing.assert_allclose(np.cov(drawn.T), truth, atol=0.005)


def test_the_energy_score_is_best_for_the_right_scatter_and_the_right_mean():
    random = torch.Generator().manual_seed(0)
    real, first, second = torch.randn(3, 200_000, 2, generator=random)

    def score(scatter, shift):
        return energy_score(real, scatter * first + shift, scatter * second + shift).item()

    right = score(1.0, 0.0)
    for scatter, shift in ((0.7, 0.0), (1.4, 0.0), (1.0, 0.4), (0.0, 0.0)):
        assert score(scatter, shift) > right + 0.01


def test_the_label_reaches_the_adversarial_score():
    torch.manual_seed(0)
    critic = Discriminator(shape_for())
    conditions = torch.zeros(4, 2, requires_grad=True)
    for score in critic(*critic.observe(torch.randn(4, 3, 50, 50)), conditions):
        (gradient,) = torch.autograd.grad(score.sum(), conditions, retain_graph=True)
        assert (gradient.abs().sum(0) > 0).all()


def test_losses_fall_in_the_right_direction_and_the_penalty_is_that_of_a_linear_critic():
    good, bad = torch.tensor([3.0]), torch.tensor([-3.0])
    assert critic_loss(good, bad) < critic_loss(bad, good)
    assert generator_loss(good, bad) > generator_loss(bad, good)
    weight = torch.randn(3, 8, 8)
    real, fake = (torch.randn(5, 3, 8, 8, requires_grad=True) for _ in range(2))
    scores = (torch.cat([real, fake]) * weight).sum((1, 2, 3))
    assert gradient_penalty(scores, real, fake).item() == pytest.approx(2 * weight.square().sum().item(), rel=1e-5)


def test_an_average_moves_by_its_share_and_leaves_the_network_alone():
    averaged, network = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    before, now = averaged.weight.detach().clone(), network.weight.detach().clone()
    move_average(averaged, network, 0.25)
    assert torch.allclose(averaged.weight, 0.75 * before + 0.25 * now) and torch.equal(network.weight, now)


def test_the_eight_symmetries_are_different_and_keep_brightness():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    versions = {tuple(dihedral(image, k).flatten().tolist()) for k in range(8)}
    assert len(versions) == 8
    assert {sum(v) for v in versions} == {36.0}


def test_conditioning_is_inverted_and_flags_what_it_has_not_seen():
    random = np.random.default_rng(0)
    labels = np.column_stack([10 ** random.normal(-0.7, 0.2, 3000), random.normal(9, 0.5, 3000)])
    conditioning = Conditioning.fit(("photo_z", "log_mass"), labels)
    standard = conditioning.standardise(labels)
    assert standard.mean(0) == pytest.approx([0, 0], abs=1e-5) and standard.std(0) == pytest.approx([1, 1], abs=1e-5)
    assert conditioning.restore(standard) == pytest.approx(labels, rel=1e-5)
    again = Conditioning.from_dict(conditioning.to_dict(), conditioning.reference)
    assert np.array_equal(again.standardise(labels), standard)
    score, flag = conditioning.novelty(np.array([[0.2, 9.0], [0.2, 13.0], [5.0, 9.0]]))
    assert flag.tolist() == [False, True, True] and score[0] < 0.5
    assert 0.002 < conditioning.novelty(labels)[1].mean() < 0.02


def test_categories_become_one_among_zeros_and_are_inverted():
    random = np.random.default_rng(1)
    labels = np.column_stack([random.choice([0.0, 2.0, 5.0], 400, p=[0.2, 0.7, 0.1]), random.normal(9, 0.5, 400)])
    conditioning = Conditioning.fit(("kind", "log_mass"), labels, categorical=("kind",))
    assert conditioning.names == ("kind=0", "kind=2", "kind=5", "log_mass") and conditioning.n_conditions == 4
    standard = conditioning.standardise(labels)
    assert np.array_equal(standard[:, :3], labels[:, :1] == [0, 2, 5])
    assert conditioning.restore(standard) == pytest.approx(labels, rel=1e-5)
    again = Conditioning.from_dict(json.loads(json.dumps(conditioning.to_dict())), conditioning.reference)
    assert np.array_equal(again.standardise(labels), standard)
    assert conditioning.typical(labels).tolist() == pytest.approx([2.0, np.median(labels[:, 1])])
    with pytest.raises(UserError, match="kind 3 is none of the training galaxies' categories: 0, 2, 5"):
        conditioning.standardise([[3.0, 9.0]])
    assert np.isnan(conditioning.standardise([[np.nan, 9.0]])[0, :3]).all()
    with pytest.raises(UserError, match="log_mass has 400 categories"):
        Conditioning.fit(("kind", "log_mass"), labels, categorical=("kind", "log_mass"))


def test_conditioning_refuses_labels_that_say_nothing():
    with pytest.raises(UserError, match="log_mass is the same for all"):
        Conditioning.fit(("photo_z", "log_mass"), np.column_stack([np.linspace(0.1, 1, 20), np.full(20, 9.0)]))
    with pytest.raises(UserError, match="photo_z holds 1 values"):
        Conditioning.fit(("photo_z",), np.array([[0.1], [-0.1], [0.3]]))
    tiny = np.geomspace(2e-29, 6e-27, 20)[:, None]  # fluxes in erg/s/cm2/Hz
    assert Conditioning.fit(("flux",), tiny).standardise(tiny).std() == pytest.approx(1)
    with pytest.raises(UserError, match="flux is the same for all"):
        Conditioning.fit(("flux",), np.full((20, 1), 1e10 / 3))


def test_a_large_kernel_has_the_gradients_of_the_convolution_as_torch_writes_it():
    x, weight = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 3, 14, 14), (4, 3, 9, 9))
    )
    assert torch.equal(LargeKernel.apply(x, weight), F.conv2d(x, weight))
    assert torch.autograd.gradcheck(LargeKernel.apply, (x, weight))


@pytest.mark.parametrize("side", [3, 6, 9, 10, 14])
def test_a_large_convolution_keeps_the_size_and_has_the_gradients_that_torch_finds(side):
    """Smaller and larger than a kernel of 10."""
    x, weight = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 3, side, side), (4, 3, 10, 10))
    )
    ours, theirs = large_convolution(x, weight), F.conv2d(F.pad(x, (4, 5, 4, 5)), weight)
    assert torch.allclose(ours, theirs)
    gradient = torch.randn_like(theirs)
    for one, other in zip(*(torch.autograd.grad(y, (x, weight), gradient) for y in (ours, theirs)), strict=True):
        assert torch.allclose(one, other)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_of_a_quarter_keeps_the_mean_and_the_layout(layout):
    """Each galaxy and each channel loses its own quarter; the gradient is dropped where the number was."""
    x = torch.ones(64, 16, 11, 11).contiguous(memory_format=layout).requires_grad_()
    torch.manual_seed(3)
    y = dropped_quarter(x)
    y.sum().backward()
    assert set(y.unique().tolist()) == {0.0, float(torch.tensor(4 / 3))}
    assert y.stride() == x.stride() and torch.equal(x.grad, y)
    # 1,936 numbers of a galaxy, 7,744 of a channel: five standard deviations.
    for dims, n in (((1, 2, 3), 16 * 121), ((0, 2, 3), 64 * 121)):
        dropped = (y == 0).float().mean(dims)
        assert (dropped - 0.25).abs().max() < 5 * (0.25 * 0.75 / n) ** 0.5
        assert len(dropped.unique()) > 10
    torch.manual_seed(4)
    assert not torch.equal(dropped_quarter(x), y)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n_bands, size", [(3, 50), (1, 33), (5, 64)])
def test_classifiers_take_any_bands_and_sizes(preset, n_bands, size):
    network = Classifier(preset, n_bands, size)
    network.stretch.start_at(torch.randn(8, n_bands, size, size), np.ones(n_bands))
    assert network(torch.randn(2, n_bands, size, size)).shape == (2,)


@torch.no_grad()
def test_noiseless_galaxies_hold_no_detail_finer_than_the_band_limit():
    torch.manual_seed(0)
    generator = Generator(NetworkShape.preset("tiny", 2, 50, 2))
    generator.paint.weight.mul_(30)  # as rough as the layers can be made
    flux = generator(torch.randn(32, generator.shape.latent_size), torch.randn(32, 2))[0]
    power = power_spectra(flux.numpy()).mean(0)
    # Between half and all of the Nyquist frequency a PSF of 3.5 pixels leaves a thousandth.
    assert power[:, 18:].max() < 1e-3 * power[:, 1:6].mean()


@torch.no_grad()
def test_a_flat_sky_stays_flat_under_the_spline_and_light_is_kept():
    for size in (32, 33, 50, 101):
        generator = Generator(NetworkShape.preset("tiny", 1, size, 2))
        knots = generator.spline.shape[1]
        flat = generator.spline @ torch.ones(knots, knots) @ generator.spline.T
        assert flat.shape == (size, size) and torch.allclose(flat, torch.ones(()), atol=1e-5)
        one = torch.zeros(knots, knots)
        one[knots // 2, knots // 2] = 1.0
        kept = (generator.spline @ one @ generator.spline.T).sum()
        assert kept == pytest.approx(4.0, rel=1e-3)  # 2 x 2 pixels a knot


@torch.no_grad()
def test_the_last_filter_keeps_light_and_is_as_wide_in_each_band_as_it_learned_to_be():
    generator = Generator(NetworkShape.preset("tiny", 2, 51, 2))
    generator.log_filter_px.copy_(torch.tensor([0.0, 0.7]))
    generator.seeing.copy_(torch.tensor([[0.1, 0.0], [0.2, 0.0]]))
    blur = generator._filter(torch.tensor([[0.0, 5.0], [1.0, 5.0], [-1e3, 5.0]]))
    assert torch.allclose(blur.sum(-1), torch.ones(3, 2, 51))
    star = torch.zeros(51, 51)
    star[25, 25] = 1.0
    seen = blur @ star @ blur.mT
    offset = torch.arange(51.0) - 25
    widths = (seen.sum(2) * offset**2).sum(-1).sqrt()
    assert widths[0].tolist() == pytest.approx([1.0, math.exp(0.7)], rel=1e-3)
    assert widths[1].tolist() == pytest.approx([math.exp(0.1), math.exp(0.9)], rel=0.02)
    assert widths[2, 1] == pytest.approx(1.0, rel=0.01)  # half as wide, and never less
    assert seen.sum((2, 3)).flatten().tolist() == pytest.approx([1.0] * 6, rel=1e-4)


@torch.no_grad()
def test_nothing_that_is_drawn_is_a_number_of_less_than_full_precision():
    # On an Intel CPU each takes a hundred times as long.
    torch.manual_seed(0)
    generator = Generator(NetworkShape.preset("tiny", 3, 50, 2))
    smallest = torch.finfo(torch.float32).tiny
    generator.neighbours.describe[-1].weight.mul_(5)
    drawn = [generator._filter(torch.randn(16, 3)), generator.neighbours(torch.randn(64, latent_neighbours(50)))]
    for numbers in drawn:
        assert (numbers.abs() >= smallest).all()
    weights = Photometer(3, 50).weights
    assert (weights.abs()[weights != 0] >= smallest).all() and (weights != 0).any(0).all()


@torch.no_grad()
def test_kinds_are_one_or_the_other_at_odds_that_the_labels_set():
    kinds = GalaxyTypes(2)
    latent = torch.randn(4000, KINDS, generator=torch.Generator().manual_seed(0))
    few, many = ((kinds(latent, torch.zeros(4000, 2)) > 0).float().mean(0)[[-1, 0]]).tolist()
    assert few == pytest.approx(0.067, abs=0.015) and many == pytest.approx(0.933, abs=0.015)
    kinds.thresholds.weight[:, 1] = 0.5
    light, heavy = (kinds(latent, torch.tensor([0.0, mass]).expand(4000, 2)) for mass in (-2.0, 2.0))
    assert ((light > 0).sum(0) > 1.3 * (heavy > 0).sum(0)).all()
    assert (light.abs() > 0.9).float().mean() > 0.7


@torch.no_grad()
def test_the_profile_is_centred_elliptical_and_falls_outwards():
    torch.manual_seed(1)
    profile = Profile(style=8, n_bands=2, size=50)
    light = profile(3 * torch.randn(64, 8)).double()
    assert torch.allclose(light, light.flip(-1, -2), atol=1e-5)  # the same on opposite sides
    # The axis of a thin one may pass between the central four pixels.
    assert (light >= 0).all() and (light.amax((2, 3)) == light[..., 23:27, 23:27].amax((2, 3))).all()
    turned = light.transpose(-1, -2)
    assert (light - turned).abs().amax((1, 2, 3)).median() > 0.1  # most are no circles


@pytest.mark.parametrize("n_bands, size", [(1, 32), (3, 50), (5, 65), (2, 128)])
def test_the_photometer_measures_any_stamp_and_standardises_it(n_bands, size):
    images = torch.randn(40, n_bands, size, size, generator=torch.Generator().manual_seed(0)) * 0.5
    photometer = Photometer(n_bands, size)
    photometer.standardise_on(images)
    features = photometer(images)
    assert features.shape == (40, photometer.n_features) and torch.isfinite(features).all()
    assert features.mean(0).abs().max() < 0.2 and (features.std(0) < 1.1).all()
    # White noise of the photometer's unit has the power 1 in each bin.
    power = photometer._log_power(images).exp() - 0.1
    assert power.mean((0, 1)).tolist() == pytest.approx([1.0] * power.shape[2], abs=0.25)
