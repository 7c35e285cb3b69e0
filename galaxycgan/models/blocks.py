"""The residual block that generator and discriminator are built from, and the plan of their resolutions."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

#: Half-resolution border that the generator makes and crops: convolutions see no stamp edge there.
MARGIN = 4
LARGEST_BASE = 9
#: exp(-NOTHING) is no light. What is as small as exp(-90) has less than full precision in float32 ("denormal"), and
#: takes an Intel CPU a hundred times as long: products with such numbers took 40% of a training step.
NOTHING = 40.0


@dataclasses.dataclass(frozen=True)
class Resolutions:
    """Resolutions of a network for a stamp size.

    Attributes
    ----------
    base : int
        Side of the coarsest map.
    levels : int
        Maps at base, 2 base, ... The finest has half the resolution of the stamp (the images are PSF-limited) and
        covers a little more.
    """

    base: int
    levels: int

    @classmethod
    def for_size(cls, size):
        """Resolutions for square stamps of `size` pixels."""
        levels = 3
        while -(-(size + MARGIN) // 2**levels) > LARGEST_BASE:
            levels += 1
        return cls(base=-(-(size + MARGIN) // 2**levels), levels=levels)


def activation(x):
    """Leaky ReLU with slope 0.2."""
    return F.leaky_relu(x, 0.2)


def as_float32(x):
    """Return a tensor in float32 where it is of half that precision, else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class _Arcsinh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        square = x.square()
        # Exact near zero, where log(x + sqrt(x^2 + 1)) is not.
        return torch.log1p(x.abs() + square / (1 + (1 + square).sqrt())).copysign(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (1 + x.square()).rsqrt()


def limited(number, largest):
    """Keep a number softly between -largest and largest; small ones stay what they are."""
    return largest * torch.tanh(number / largest)


def arcsinh(x):
    """Inverse hyperbolic sine; on a CPU `torch.asinh` takes four times as long."""
    return _Arcsinh.apply(x)


def same_padded(x, kernel):
    """Pad images [..., y, x] for a convolution that keeps their size: of an even kernel one more row after than before.

    torch does it by padding="same", too, but warns each user of an even kernel.
    """
    before, after = (kernel - 1) // 2, kernel // 2
    return F.pad(x, (before, after, before, after))


class Block(nn.Module):
    """Pre-activation residual block, its middle modulated by a style vector (FiLM, Perez et al. 2018, 1709.07871).

    The second convolution starts at zero: the block starts as the identity.
    """

    def __init__(self, n_in, n_out, style=0):
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else None
        nn.init.zeros_(self.second.weight)
        self.film = nn.Linear(style, 2 * n_out) if style else None
        if style:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x, style=None):
        """Map [n, n_in, y, x] to [n, n_out, y, x]."""
        h = activation(self.first(activation(x)))
        if self.film is not None:
            scale, shift = self.film(style)[..., None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        return (x if self.skip is None else self.skip(x)) + self.second(h)
