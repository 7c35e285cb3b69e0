"""The smooth part of a galaxy: elliptical profiles about the stamp's centre, shaped by the style vector."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from galaxycgan.models.blocks import limited

COMPONENTS = 2
#: Scale length at the start, as a share of the stamp's side: 3 pixels of 50.
SCALE_LENGTH = 0.06
#: The exponent of the squared radius, 1/(2n) for a Sersic profile of index n, stays between these.
EXPONENTS = (0.1, 0.7)
#: Squared radius, in scale lengths, within which the profile is flat: the sampled PSF leaves no cusp.
CORE = 0.02
ELLIPTICITY_LIMIT = 3.0
#: Largest factor of the ellipticity, in natural logarithms.
STRETCH_LIMIT = 2.0


def ellipse(e1, e2, limit):
    """Return (c, e1, e2) of the squared radius ``c (x² + y²) + e1 (y² - x²) - 2 e2 x y``, each e softly within `limit`.

    It is positive and of determinant 1 whatever the ellipticity.
    """
    e1, e2 = limited(e1, limit), limited(e2, limit)
    return (1 + e1 * e1 + e2 * e2).sqrt(), e1, e2


class Profile(nn.Module):
    """Sum of Sersic profiles (Sersic 1963, BAAA 6, 41) in arcsinh flux, one set of parameters for each galaxy.

    Galaxies are smooth ellipses with a sharp centre before they are anything else, and that is what convolutions on
    upsampled maps learn last. A component is ``softplus(a_b - c Q^p)`` with Q a quadratic form in the coordinates: a
    straight line in logarithmic flux near the centre, nothing far out. What the convolutions add to it is a factor in
    flux.

    Parameters
    ----------
    style : int
        Length of the style vector.
    n_bands : int
    size : int
        Side of the stamp in pixels.
    """

    def __init__(self, style, n_bands, size):
        super().__init__()
        self.n_bands = n_bands
        self.size = size
        line = (torch.arange(size) - (size - 1) / 2) / (SCALE_LENGTH * size)
        y, x = torch.meshgrid(line, line, indexing="ij")
        # Size and the two components of the ellipticity are the coefficients of these, up to their signs.
        forms = torch.stack([x * x + y * y, y * y - x * x, -2 * x * y]).flatten(1)
        self.register_buffer("forms", forms.to(torch.get_default_dtype()), persistent=False)
        self.describe = nn.Linear(style, COMPONENTS * (6 + n_bands))
        with torch.no_grad():
            self.describe.weight.mul_(0.5)
            bias = torch.zeros(COMPONENTS, 6 + n_bands)
            low, high = EXPONENTS
            # An exponential disc, and a rounder and more concentrated component within it.
            for k, index in enumerate((1.0, 2.0)):
                share = (0.5 / index - low) / (high - low)
                bias[k, 3] = math.log(share / (1 - share))
            bias[:, 6:] = 1.0
            self.describe.bias.copy_(bias.flatten())

    def forward(self, style):
        """Return the profile in arcsinh flux [n, band, y, x] for style vectors [n, style]."""
        numbers = self.describe(style).view(len(style), COMPONENTS, 6 + self.n_bands)
        size, e1, e2, exponent, steepness, stretch = numbers[..., :6].unbind(-1)
        # Two components alike in all directions scatter as latent numbers do, which leaves few galaxies round and few
        # thin. A factor of both has a distribution of its own.
        factor = torch.exp(limited(stretch, STRETCH_LIMIT))
        form = torch.stack(ellipse(factor * e1, factor * e2, ELLIPTICITY_LIMIT), -1) * torch.exp(-2 * size)[..., None]
        radius = form @ self.forms + CORE  # [n, component, y * x]
        low, high = EXPONENTS
        power = low + (high - low) * torch.sigmoid(exponent)[..., None]
        fall = torch.exp(steepness)[..., None] * radius.clamp_min(CORE / 2) ** power
        light = F.softplus(numbers[..., 6:, None] - fall[:, :, None]).sum(1)
        return light.unflatten(-1, (self.size, self.size))
