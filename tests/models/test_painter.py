"""Every galaxy of a request is made of random numbers of its own, in whatever block it lies."""

import numpy as np
import pytest
import torch

from galaxycgan.models.painter import BLOCK, Painter


@pytest.fixture(scope="module")
def painter():
    return Painter("pretrained", torch.device("cpu"), "float32")


@pytest.fixture(scope="module")
def labels(painter):
    """The same for all galaxies of two blocks: what differs is not of the labels."""
    return np.tile(painter.conditioning.restore(np.zeros((1, painter.conditioning.n_conditions))), (2 * BLOCK, 1))


def alike(stamps):
    """Return the largest correlation coefficient of two different images [n, ...]."""
    found = np.abs(np.corrcoef(stamps.reshape(len(stamps), -1)))
    np.fill_diagonal(found, 0)
    return found.max()


@pytest.mark.parametrize("own_depth", [False, True])
def test_each_galaxy_of_each_block_has_latents_and_noise_of_its_own(painter, labels, own_depth):
    sigma = np.full(len(painter.card["bands"]), 3.0) if own_depth else None
    blocks = [painter.paint_block(labels[:BLOCK], 3, first, True, sigma) for first in (0, BLOCK)]
    galaxies = np.concatenate([block.noiseless for block in blocks])
    noise = np.concatenate([(block.images - block.noiseless) / block.sigma for block in blocks])
    assert len(np.unique(galaxies.reshape(2 * BLOCK, -1), axis=0)) == 2 * BLOCK
    # 7,500 pixels that their neighbours go along with: chance gives 0.1.
    assert noise.std() == pytest.approx(1, abs=0.02) and alike(noise) < 0.2


def test_a_sample_is_its_blocks_and_a_seed_decides_them(painter, labels):
    sample = painter.sample(labels[: BLOCK + 6], 3)
    assert len(sample) == BLOCK + 6
    assert np.array_equal(sample[:BLOCK], painter.paint(labels, 3, 0).images)
    assert np.array_equal(sample[BLOCK:], painter.paint(labels, 3, BLOCK).images[:6])
    other = painter.paint(labels, 4, 0)
    assert not np.isclose(other.images, sample[:BLOCK]).all(axis=(1, 2, 3)).any()
