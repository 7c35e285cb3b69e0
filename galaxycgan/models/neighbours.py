"""The objects around a galaxy: a few small profiles anywhere on the stamp, whatever the galaxy is."""

import math

import torch
from torch import nn

from galaxycgan.images.photometry import STANDARD_SIZE
from galaxycgan.models.blocks import NOTHING, limited
from galaxycgan.models.profile import ellipse

#: On a stamp of 50 pixels. Most of them are too faint to be seen; a stamp with more bright ones is rare.
OBJECTS = 5
#: Each costs an image's time; these fill a stamp of 90 pixels.
MOST_OBJECTS = 16
#: Numbers that make one: its kind, and its place.
KIND, PLACE = 6, 2
HIDDEN = 32
#: Objects lie on a stamp of 50 pixels or up to this many beyond its edges; it scales with the stamp.
BORDER_PX = 5.0
#: At the start: scale length in pixels, logarithm of the peak in flux units and its scatter.
SCALE_PX, PEAK, SCATTER = 1.2, -1.5, 1.5
LARGEST_LOG_SIZE, LARGEST_LOG_PEAK, ELLIPTICITY_LIMIT = 1.5, 9.0, 1.5
#: Flat within this squared radius, in scale lengths: the root has no cusp.
CORE = 0.05


def n_objects(size):
    """Return how many objects a stamp of `size` pixels gets: as many by area, but never fewer than a small one has.

    A small stamp may as well have larger pixels; objects that aren't there become faint.
    """
    return min(max(OBJECTS, round(OBJECTS * (size / STANDARD_SIZE) ** 2)), MOST_OBJECTS)


def latent_neighbours(size):
    """Return how many latent numbers the objects around one galaxy take on a stamp of `size` pixels."""
    return n_objects(size) * (KIND + PLACE)


class Neighbours(nn.Module):
    """Exponential profiles (Freeman 1970, ApJ 160, 811) in linear flux, each made of latent numbers of its own.

    What lies near a galaxy on the sky is independent of it: the labels have no influence, and places are uniform.
    How bright objects are, in which colours, how large and how round is learned from the training stamps. Convolutions,
    which draw all else, take long to find out that there is a second galaxy in a corner.

    Parameters
    ----------
    n_bands : int
    size : int
        Side of the stamp in pixels.
    """

    def __init__(self, n_bands, size):
        super().__init__()
        line = torch.arange(size) - (size - 1) / 2
        self.register_buffer("line", line.to(torch.get_default_dtype()), persistent=False)
        self.reach = size / 2 + BORDER_PX * size / STANDARD_SIZE
        self.describe = nn.Sequential(nn.Linear(KIND + 1, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 3 + n_bands))
        self.peak = nn.Parameter(torch.full((n_bands,), PEAK))
        self.log_scatter = nn.Parameter(torch.tensor(math.log(SCATTER)))
        with torch.no_grad():
            self.describe[-1].weight.mul_(0.5)
            self.describe[-1].bias.zero_()

    def forward(self, latent):
        """Return the objects' flux [n, band, y, x] for standard normal deviates [n, `latent_neighbours`]."""
        kind, place = latent.unflatten(1, (-1, KIND + PLACE)).split([KIND, PLACE], -1)
        place = torch.erf(place / math.sqrt(2))  # uniform from -1 to 1
        numbers = self.describe(torch.cat([kind, place.square().sum(-1, keepdim=True)], -1))
        size, e1, e2 = numbers[..., :3].unbind(-1)
        scale = torch.exp(-limited(size, LARGEST_LOG_SIZE))[..., None] / SCALE_PX
        x, y = ((self.line - self.reach * place[..., k, None]) * scale for k in range(2))  # [n, object, pixel]
        round_part, e1, e2 = ellipse(e1, e2, ELLIPTICITY_LIMIT)
        along, across, mixed = ((round_part - e1)[..., None], (round_part + e1)[..., None], -2 * e2)
        radius = (across * y.square())[..., :, None] + (along * x.square())[..., None, :]
        radius = radius + (mixed[..., None, None] * y[..., :, None]) * x[..., None, :]
        shape = torch.exp(-(radius + CORE).clamp_max(NOTHING**2).sqrt())
        log_peak = self.peak + self.log_scatter.exp() * kind[..., :1] + numbers[..., 3:]
        return torch.einsum("nob,noyx->nbyx", torch.exp(log_peak.clamp_max(LARGEST_LOG_PEAK)), shape)
