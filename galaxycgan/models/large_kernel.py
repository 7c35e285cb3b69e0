"""Convolutions with a kernel about as large as the image, on CPUs, where torch's own are slow.

Worth its 130 lines as long as the networks of 2018, whose kernels have 16 pixels, are trained on CPUs: forth and back
64 images of 16 channels take 30 CPU ms instead of 247 at 12 x 12 pixels and 710 instead of 1,201 at 25 x 25 (float32,
one core of an Intel Xeon at 2.8 GHz, torch 2.13).
"""

import functools

import torch
import torch.nn.functional as F

from galaxycgan.models.blocks import same_padded


def large_convolution(x, weight):
    """Convolve with "same" padding of a large even kernel, one more row after than before.

    Where the kernel is no smaller than the image, most of it meets padding alone: as products of matrices that leave
    the padding out, a step forth and back takes three quarters of the time (AMD EPYC, bfloat16, 16 channels of 12 x 12,
    a kernel of 16). Larger images are convolved.

    Parameters
    ----------
    x : tensor [n, channel, side, side]
    weight : tensor [filter, channel, kernel, kernel]
        Of the same dtype.

    Returns
    -------
    tensor [n, filter, side, side]
    """
    kernel = weight.shape[-1]
    if x.shape[-1] <= kernel:
        return BandedConvolution.apply(x, weight)
    return LargeKernel.apply(same_padded(x, kernel), weight)


class LargeKernel(torch.autograd.Function):
    """Convolution of [n, c, y, x] with a kernel of a similar size as its output.

    The gradient of its weights is a convolution, too: of the input with the output's gradient, galaxies in the role of
    channels. Written as one it takes 7 ms instead of 17 for a batch of 64 (bfloat16, one core of an AMD EPYC).
    """

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            of_input = torch.nn.grad.conv2d_input(x.shape, weight, gradient)
        if ctx.needs_input_grad[1]:
            x, gradient = (each.transpose(0, 1).contiguous(memory_format=torch.channels_last) for each in (x, gradient))
            of_weight = F.conv2d(x, gradient).transpose(0, 1)
        return of_input, of_weight


class BandedConvolution(torch.autograd.Function):
    """The same with padding inside, as products of matrices: each row of the kernel maps rows of the image to rows.

    That map is a banded (Toeplitz) matrix [channel x, filter x]; those of all rows of the kernel lie one below the
    other. A row of the output is the rows of the image around it, side by side, times as many of those matrices.
    """

    @staticmethod
    def forward(ctx, x, weight):
        channels, side = x.shape[1:3]
        kernel = weight.shape[-1]
        taps = _taps(side, kernel, x.dtype)
        bands = torch.einsum("fcyk,uvk->ycufv", weight, taps).reshape(kernel, channels * side, -1)
        rows = _rows(x)
        ctx.save_for_backward(rows, bands)
        ctx.weight_shape = weight.shape
        return _images(_times_bands(rows, bands, (kernel - 1) // 2), side)

    @staticmethod
    def backward(ctx, gradient):
        rows, bands = ctx.saved_tensors
        filters, channels, kernel, _ = ctx.weight_shape
        side, before = gradient.shape[-1], (kernel - 1) // 2
        gradient = _rows(gradient)
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            turned = bands.flip(0).transpose(1, 2).contiguous()
            of_input = _images(_times_bands(gradient, turned, kernel - 1 - before), side)
        if ctx.needs_input_grad[1]:
            # Rows first: pairs of rows that the same row of the kernel joins are one block of all galaxies.
            rows, gradient = (each.transpose(0, 1).contiguous() for each in (rows, gradient))
            products = []
            for y in range(kernel):
                shift = y - before  # of the image's row to the output's
                of_image, of_output = _overlap(side, shift), _overlap(side, -shift)
                products.append(rows[of_image].flatten(0, 1).T @ gradient[of_output].flatten(0, 1))
            products = torch.stack(products).view(kernel, channels, side, filters, side)
            taps = _taps(side, kernel, products.dtype)
            of_weight = torch.einsum("ycufv,uvk->fcyk", products, taps)
        return of_input, of_weight


def _rows(images):
    """[n, channel, y, x] as [n, y, channel x]."""
    return images.transpose(1, 2).flatten(2).contiguous()


def _images(rows, side):
    """[n, y, channel x] as [n, channel, y, x]."""
    return rows.unflatten(2, (-1, side)).transpose(1, 2)


def _times_bands(rows, bands, before):
    """Add up, for each row of the output, the products of rows [n, y, i] and bands [k, i, j] that meet there."""
    side, kernel = rows.shape[1], len(bands)
    sums = []
    for y in range(side):
        first, end = max(0, y - before), min(side, y - before + kernel)
        met = bands[first - y + before : end - y + before]
        sums.append(rows[:, first:end].flatten(1) @ met.flatten(0, 1))
    return torch.stack(sums, 1)


def _overlap(side, shift):
    """Rows of an image that are rows of one shifted by so many, too."""
    return slice(max(0, shift), max(0, side + min(0, shift)))


@functools.cache
def _taps(side, kernel, dtype):
    """Which place of the kernel joins place u of the image and v of the output: 1 there [u, v, kernel], else 0."""
    place = torch.arange(side)[:, None] - torch.arange(side) + (kernel - 1) // 2
    return (place[..., None] == torch.arange(kernel)).to(dtype)
