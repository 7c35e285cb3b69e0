"""Networks that look at a cutout and say how likely it is a galaxy of the wanted kind."""

import torch
import torch.nn.functional as F
from torch import nn

from galaxycgan.models.blocks import arcsinh

#: Kernel sizes of the 2018 architecture.
KERNELS_2018 = (4, 8, 16)


class Standardise(nn.Module):
    """Linear flux in nJy to stretched pixels of unit scatter: ``arcsinh(flux / unit)``, standardised by band."""

    def __init__(self, n_bands):
        super().__init__()
        self.register_buffer("unit_njy", torch.ones(n_bands, 1, 1))
        self.register_buffer("mean", torch.zeros(n_bands, 1, 1))
        self.register_buffer("scale", torch.ones(n_bands, 1, 1))

    @torch.no_grad()
    def start_at(self, flux, unit_njy):
        """Take the scales from training images [n, band, y, x] in nJy."""
        self.unit_njy.copy_(torch.as_tensor(unit_njy, dtype=torch.float32)[:, None, None])
        stretched = arcsinh(flux / self.unit_njy)
        self.mean.copy_(stretched.mean((0, 2, 3))[:, None, None])
        self.scale.copy_(stretched.std((0, 2, 3)).clamp_min(1e-6)[:, None, None])

    def forward(self, flux):
        """Stretch [n, band, y, x]."""
        return (arcsinh(flux / self.unit_njy) - self.mean) / self.scale


class Cnn2018(nn.Module):
    """The 2018 classifier: three times (16 filters, ReLU, max pooling, dropout 1/4), dense 128, 64, 1."""

    def __init__(self, n_bands, size):
        super().__init__()
        channels = (n_bands, 16, 16, 16)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels[k], channels[k + 1], kernel) for k, kernel in enumerate(KERNELS_2018)
        )
        side = size // 8
        self.dense = nn.Sequential(
            nn.Linear(16 * side * side, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)
        )

    def forward(self, x):
        """Map stretched images [n, band, y, x] to logits [n]."""
        for convolution, kernel in zip(self.convolutions, KERNELS_2018, strict=True):
            # "same" padding of an even kernel: torch's own makes a slow copy
            before, after = (kernel - 1) // 2, kernel // 2
            x = convolution(F.pad(x, (before, after, before, after)))
            x = F.dropout(F.max_pool2d(F.relu(x), 2), 0.25, self.training)
        return self.dense(x.flatten(1))[:, 0]


class BaseClassifier(nn.Module):
    """A small network on space-to-depth input: 3 x 3 convolutions, group norm, global mean and maximum."""

    def __init__(self, n_bands, size):
        super().__init__()
        channels = (4 * n_bands, 32, 64, 96)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(8, b), nn.SiLU(), nn.Conv2d(b, b, 3, padding=1), nn.SiLU()
            )
            for a, b in zip(channels, channels[1:], strict=False)
        )
        self.dense = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * channels[-1], 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x):
        """Map stretched images [n, band, y, x] to logits [n]."""
        if x.shape[-1] % 2:
            x = F.pad(x, (0, 1, 0, 1))
        x = F.pixel_unshuffle(x, 2)
        for k, layer in enumerate(self.layers):
            x = layer(F.avg_pool2d(x, 2) if k else x)
        return self.dense(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))[:, 0]


PRESETS = {"cnn2018": Cnn2018, "base": BaseClassifier}


class Classifier(nn.Module):
    """Stretch and network in one: linear flux in nJy to logits.

    Parameters
    ----------
    preset : str
        One of `PRESETS`.
    n_bands, size : int
        Of the images [n, band, y, x].
    """

    def __init__(self, preset, n_bands, size):
        super().__init__()
        self.stretch = Standardise(n_bands)
        self.network = PRESETS[preset](n_bands, size)

    def forward(self, flux):
        """Map images [n, band, y, x] in nJy to logits [n]."""
        return self.network(self.stretch(flux).contiguous(memory_format=torch.channels_last))
