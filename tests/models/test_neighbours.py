"""Objects around a galaxy lie where their latent numbers say, and know nothing of the galaxy."""

import math

import pytest
import torch

from galaxycgan.models.generator import Generator, NetworkShape
from galaxycgan.models.neighbours import BORDER_PX, KIND, OBJECTS, PLACE, Neighbours, latent_neighbours, n_objects

SIZE = 50


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return Neighbours(n_bands=3, size=SIZE)


def latent_of(x_px, y_px, brightness=8.0):
    """Latent numbers of one bright object at an offset from the centre; the others are far too faint to be seen."""
    numbers = torch.zeros(1, OBJECTS, KIND + PLACE)
    numbers[..., 0] = -30.0
    numbers[0, 0, 0] = brightness
    reach = SIZE / 2 + BORDER_PX
    for k, offset in enumerate((x_px, y_px)):
        numbers[0, 0, KIND + k] = math.sqrt(2) * torch.erfinv(torch.tensor(offset / reach))
    return numbers.flatten(1)


@pytest.mark.parametrize("place", [(0.0, 0.0), (12.0, -7.0), (-15.0, 3.5)])
def test_an_object_lies_where_its_numbers_say(layer, place):
    flux = layer(latent_of(*place))[0].detach()
    line = torch.arange(SIZE) - (SIZE - 1) / 2
    for band in flux:
        assert float((band.sum(0) * line).sum() / band.sum()) == pytest.approx(place[0], abs=0.3)
        assert float((band.sum(1) * line).sum() / band.sum()) == pytest.approx(place[1], abs=0.3)


def test_places_are_uniform_over_the_stamp_and_a_little_beyond(layer):
    normal = torch.special.ndtri((torch.arange(600) + 0.5) / 600)
    for k in range(2):
        latent = latent_of(0.0, 0.0).repeat(600, 1)
        latent[:, KIND + k] = normal
        brightest = layer(latent)[:, 0].sum(1 + k).argmax(1)
        counts = torch.histc(brightest[(brightest >= 5) & (brightest < 45)].float() + 0.5, bins=4, min=5, max=45)
        assert (counts / counts.mean() - 1).abs().max() < 0.05
        assert counts.sum() / 600 == pytest.approx(40 / (SIZE + 2 * BORDER_PX), abs=0.01)


@pytest.mark.parametrize("size, objects", [(32, 5), (50, 5), (64, 8), (128, 16)])
def test_a_larger_stamp_has_more_around_its_galaxy(size, objects):
    assert n_objects(size) == objects
    shape = NetworkShape.preset("tiny", 3, size, 2)
    assert shape.latent_size - NetworkShape.preset("tiny", 3, 50, 2).latent_size == (
        8 * (objects - 5) + 4 * (shape.plan.base**2 - 49)
    )
    around = Neighbours(3, size)(torch.randn(2, latent_neighbours(size)))
    assert around.shape == (2, 3, size, size)


def test_light_is_never_negative_and_stays_finite(layer):
    wild = 6 * torch.randn(200, latent_neighbours(SIZE), generator=torch.Generator().manual_seed(2))
    flux = layer(wild)
    assert flux.shape == (200, 3, SIZE, SIZE) and flux.isfinite().all() and (flux >= 0).all()


def test_labels_have_no_say_in_what_lies_around(layer):
    torch.manual_seed(3)
    network = Generator(NetworkShape.preset("tiny", 3, 32, 2))
    one = torch.randn(4, network.shape.latent_size)
    around = []
    network.neighbours.register_forward_hook(lambda module, inputs, output: around.append(output.detach()))
    for label in (-1.0, 1.0):
        network(one, torch.full((4, 2), label))
    assert torch.equal(*around)


def test_all_that_it_learns_gets_a_gradient(layer):
    layer(torch.randn(16, latent_neighbours(SIZE))).square().mean().backward()
    for name, weight in layer.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
