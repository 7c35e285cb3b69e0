"""Random numbers that belong to an index, not to a moment: a galaxy gets the same ones in any batch or shard.

Counter-based generator Philox 4x64 (Salmon et al. 2011, SC '11, doi:10.1145/2063384.2063405): the key is (seed,
stream), the counter is the index. Every index owns a fixed range of counters: nothing depends on what was drawn before.
"""

import numpy as np

#: One stream per use, so that no two uses share numbers.
STREAMS = {"order": 1, "augment": 2, "latent": 3, "noise": 4, "request": 5, "select": 6, "critics": 7, "shift": 8}
STREAMS |= {"mock-population": 101, "mock-pool": 102, "mock-patches": 103, "mock-table": 104, "mock-render": 105}
_RADIANS_PER_STEP = np.float32(2.0 * np.pi / 2**32)


def make_rng(seed, stream, index=0):
    """Return a numpy Generator that belongs to (seed, stream, index)."""
    # The index sits in the third counter word: 2^128 draws lie between neighbours.
    return np.random.Generator(np.random.Philox(key=[seed, STREAMS[stream]], counter=[0, 0, index, 0]))


def normals(seed, stream, first, count, size):
    """Draw standard normal deviates for consecutive indices.

    Parameters
    ----------
    seed : int
        Key, 0 <= seed < 2^64.
    stream : str
        One of `STREAMS`.
    first, count : int
        Indices ``first .. first + count - 1``.
    size : int
        Deviates for each index.

    Returns
    -------
    float32 array [count, size]
        Row k depends on (seed, stream, first + k, size) alone. Box-Muller transform (Box & Muller 1958): unlike
        rejection methods it uses a fixed number of counters.
    """
    blocks = -(-size // 8)  # a counter gives 4 words of 64 bits, a word gives 2 deviates
    bits = np.random.Philox(key=[seed, STREAMS[stream]], counter=first * blocks)
    words = bits.random_raw(count * blocks * 4).view(np.uint32).reshape(count, -1, 2)
    # (u + 1) / 2^32 lies in (0, 1]: the logarithm is finite
    radius = words[..., 0].astype(np.float32)
    radius += np.float32(1.0)
    radius *= np.float32(2.0**-32)
    np.log(radius, out=radius)
    radius *= np.float32(-2.0)
    np.sqrt(radius, out=radius)
    angle = words[..., 1].astype(np.float32)
    angle *= _RADIANS_PER_STEP
    pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs[:, :size]


def shuffled_order(seed, epoch, n):
    """Return the order in which an epoch visits `n` objects: int64 [n]."""
    return make_rng(seed, "order", epoch).permutation(n)
