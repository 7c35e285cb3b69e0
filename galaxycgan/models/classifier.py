"""Networks that look at a cutout and say how likely it is a galaxy of the wanted kind."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from galaxycgan.images.photometry import geometry
from galaxycgan.models.blocks import Block, arcsinh, same_padded
from galaxycgan.models.large_kernel import large_convolution
from galaxycgan.models.photometer import Photometer

#: Kernel sizes of the 2018 architecture.
KERNELS_2018 = (4, 8, 16)


#: Surveys differ in depth; where sky noise differs by such a factor, pixels don't mean the same.
UNLIKE_NOISE = 10.0


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

    sees_flux = False

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
        for name, values in self.named_parameters():
            # As Keras started it (Glorot & Bengio 2010); torch's smaller weights learn much more slowly.
            nn.init.zeros_(values) if name.endswith("bias") else nn.init.xavier_uniform_(values)

    def forward(self, x):
        """Map stretched images [n, band, y, x] to logits [n]."""
        for convolution, kernel in zip(self.convolutions, KERNELS_2018, strict=True):
            # Pooled first: the same numbers as after the ReLU, which then has a quarter of them to do.
            x = F.max_pool2d(_same(convolution, kernel, x), 2)
            x = dropped_quarter(F.relu(x)) if self.training else F.relu(x)
        return self.dense(x.flatten(1))[:, 0]


def _same(convolution, kernel, x):
    """Convolve with "same" padding of an even kernel, one more row after than before; torch's own is slow.

    Returned with channels last, which pools fastest. In bfloat16 on a CPU the middle kernel takes half the time with
    channels first and a row too many (measured on an AMD EPYC: 19 against 42 ms for a batch of 64, forth and back).
    """
    if kernel == KERNELS_2018[2] and x.device.type == "cpu":
        y = large_convolution(x, convolution.weight.to(x.dtype)) + convolution.bias[:, None, None].to(x.dtype)
    elif kernel == KERNELS_2018[1]:
        weight = convolution.weight.contiguous(memory_format=torch.contiguous_format)
        x = x.contiguous(memory_format=torch.contiguous_format)
        y = F.conv2d(x, weight, convolution.bias, padding=kernel // 2)[..., 1:, 1:]
    else:
        y = convolution(same_padded(x, kernel))
    return y.contiguous(memory_format=torch.channels_last)


@functools.cache
def _factors(dtype, device):
    """What each byte sets four numbers to: [256, 4], 0 where a pair of its bits is 0, 4/3 elsewhere."""
    bits = torch.arange(256)[:, None] >> torch.tensor([0, 2, 4, 6])
    return (((bits & 3) != 0).to(dtype) * (4 / 3)).to(device)


def dropped_quarter(x):
    """Set a random quarter of numbers to 0, the others to 4/3: dropout of 1/4 from two random bits each.

    torch's own draws a number for each on a CPU, a tenth of a training step. Factors are laid out as `x` is, which must
    be dense: to multiply numbers that lie in another order takes nine times as long.
    """
    words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 32),), device=x.device)
    factors = _factors(x.dtype, x.device).index_select(0, words.view(torch.uint8).int())
    return x * factors.as_strided(x.size(), x.stride())


class BaseClassifier(nn.Module):
    """Residual blocks on space-to-depth input, and beside them the photometry that an astronomer would measure.

    Fluxes, colours and sizes say most of what redshift and mass are; the blocks look at what remains.
    """

    sees_flux = True

    def __init__(self, n_bands, size):
        super().__init__()
        channels = (24, 32, 48)
        self.start = nn.Conv2d(4 * n_bands, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in zip((channels[0], *channels), channels, strict=False))
        self.photometer = Photometer(n_bands, size)
        n_features = 2 * channels[-1] + self.photometer.n_features
        self.dense = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(n_features, 64), nn.SiLU(), nn.Dropout(0.3), nn.Linear(64, 1)
        )

    def forward(self, x, flux):
        """Map stretched images [n, band, y, x], and the same in units of twice the sky noise, to logits [n]."""
        if x.shape[-1] % 2:
            x = F.pad(x, (0, 1, 0, 1))
        x = self.start(F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))
        for k, block in enumerate(self.blocks):
            x = block(F.avg_pool2d(x, 2) if k else x)
        x = F.silu(x)
        return self.dense(torch.cat([x.mean((2, 3)), x.amax((2, 3)), self.photometer(flux)], 1))[:, 0]


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

    @torch.no_grad()
    def start_at(self, flux, unit_njy):
        """Take all scales from training images [n, band, y, x] in nJy; `unit_njy` [band] is twice their sky noise."""
        self.stretch.start_at(flux, unit_njy)
        if self.network.sees_flux:
            self.network.photometer.standardise_on(flux / self.stretch.unit_njy)

    @torch.no_grad()
    def noise_mismatch_warning(self, flux, bands):
        """Say in which band the sky noise of images [n, band, y, x] is far from the training images'; '' in none."""
        sky = flux[:, :, torch.from_numpy(geometry(flux.shape[-1]).sky)]
        ratio = 2 * sky.std(2).median(0).values / self.stretch.unit_njy[:, 0, 0].to(flux.device)
        worst = int(ratio.log().abs().argmax())
        if 1 / UNLIKE_NOISE < ratio[worst] < UNLIKE_NOISE:
            return ""
        return (
            f"the sky noise of {bands[worst]} is {ratio[worst]:.3g} times that of the galaxies learned from; do the"
            " pixels mean the same (galaxycgan convert --pixels)?"
        )

    def forward(self, flux):
        """Map images [n, band, y, x] in nJy to logits [n]."""
        stretched = self.stretch(flux).contiguous(memory_format=torch.channels_last)
        if self.network.sees_flux:
            return self.network(stretched, flux / self.stretch.unit_njy)
        return self.network(stretched)
