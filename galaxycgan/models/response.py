"""Heavier is brighter, for every latent: the responses of light to labels that are plain in the training galaxies."""

import torch
from torch import nn

from galaxycgan.images.photometry import APERTURE_RADIUS, geometry
from galaxycgan.models.blocks import arcsinh
from galaxycgan.models.photometer import SKY_VARIANCE

#: A label's response counts where a standard deviation of it moves the light by more than galaxies scatter around it.
STEEP = 1.0
#: How far a label is moved, in standard deviations, and the least share of the response that must come of it: relations
#: are curved, and galaxies differ.
STEP, SHARE = 0.5, 0.25


#: Least number of degrees of freedom of the fit, galaxies less rank, for a response to count as plain.
FEWEST_FREE = 10


class Response(nn.Module):
    """Tells where a galaxy does not follow its labels, though real galaxies do.

    What critics and scores ask for is right on average: one latent number in a thousand may still make a galaxy that
    fades as it gets heavier, at labels where it has rarely been seen.

    Parameters
    ----------
    n_conditions, size : int

    Attributes
    ----------
    slope : tensor [n_conditions]
        Change of the light, see `light`, with a standardised label at fixed others; 0 where it is not plain.
    """

    def __init__(self, n_conditions, size):
        super().__init__()
        inside = torch.tensor(geometry(size).within(APERTURE_RADIUS)).flatten()
        self.register_buffer("inside", inside.nonzero()[:, 0], persistent=False)
        self.register_buffer("slope", torch.zeros(n_conditions))

    def light(self, flux):
        """Return arcsinh of the aperture flux over its noise, mean of the bands [n], of flux [n, band, y, x].

        In units of twice the sky noise of a pixel. For bright galaxies a unit is a factor of e.
        """
        # Its correlation about doubles the noise of a sum.
        noise = 2 * (SKY_VARIANCE * len(self.inside)) ** 0.5
        return arcsinh(flux.flatten(2)[..., self.inside].sum(-1) / noise).mean(1)

    @torch.no_grad()
    def learn(self, flux, conditions, numeric):
        """Take the slopes from real galaxies, by least squares.

        Parameters
        ----------
        flux : tensor [n, band, y, x]
        conditions : tensor [n, n_conditions]
            Their standardised labels.
        numeric : sequence of bool
            Which of these are amounts; categories have no order.
        """
        light = self.light(flux).double().cpu()
        design = torch.cat([conditions.double().cpu(), torch.ones(len(light), 1, dtype=torch.float64)], 1)
        # Categories add up to the constant: the solution of least norm.
        found = torch.linalg.lstsq(design, light[:, None], driver="gelsd").solution[:, 0]
        free = len(light) - torch.linalg.matrix_rank(design)
        scatter = ((light - design @ found).square().sum() / free.clamp(min=1)).sqrt()
        # With hardly more galaxies than labels the fit is perfect, whatever the labels are.
        plain = (found[:-1].abs() > STEEP * scatter) & torch.tensor(numeric) & (free >= FEWEST_FREE)
        self.slope.copy_(torch.where(plain, found[:-1], 0))

    @property
    def columns(self):
        """Return which standardised labels have a plain response: list of int."""
        return self.slope.nonzero()[:, 0].tolist()

    def penalty(self, flux, moved, column):
        """Return by how much the light of galaxies changes too little, or the wrong way, when a label is moved.

        Parameters
        ----------
        flux, moved : tensor [n, band, y, x]
            Noiseless galaxies, and those of the same latent numbers with that label larger by `STEP`.
        column : int
            One of `columns`.

        Returns
        -------
        tensor
            Mean of the shortfall below `SHARE` of the real response.
        """
        change = (self.light(moved) - self.light(flux)) * self.slope[column].sign()
        return torch.relu(SHARE * STEP * self.slope[column].abs() - change).mean()
