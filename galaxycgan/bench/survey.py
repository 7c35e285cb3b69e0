"""Survey files of any size for measurements: the right types and widths, numbers of no meaning."""

import numpy as np

from galaxycgan.images.pixel_units import njy_to_hsc_asinh

FIRST_ID = 43_150_000_000_000_000
#: So many different stamps are enough: none of the measured steps looks at what is in them.
PATTERNS = 256
SKY_NJY = 2.0


def write_survey(folder, n, bands, size, seed):
    """Write ids, images and table of n objects.

    Parameters
    ----------
    folder : Path
    n : int
    bands : tuple of str
    size : int
        Side of the square images in pixels.
    seed : int

    Returns
    -------
    dict of Path
        'ids', 'images' (float64 [n, band, y, x], HSC asinh units) and 'table'.
    """
    rng = np.random.default_rng(seed)
    paths = {"ids": folder / "ids.npy", "images": folder / "images.npy", "table": folder / "objects.csv"}
    ids = FIRST_ID + rng.permutation(n) * 7
    np.save(paths["ids"], ids)
    offsets = np.indices((size, size)) - (size - 1) / 2
    light = 300 * np.exp(-(offsets**2).sum(0) / rng.uniform(5, 50, (PATTERNS, 1, 1, 1)))
    stamps = njy_to_hsc_asinh(light + rng.normal(0, SKY_NJY, (PATTERNS, len(bands), size, size)))
    images = np.lib.format.open_memmap(paths["images"], "w+", np.float64, (n, *stamps.shape[1:]))
    for start in range(0, n, PATTERNS):
        images[start : start + PATTERNS] = stamps[: n - start]
    images.flush()
    redshift, mass = rng.uniform(0.01, 1, n), rng.uniform(7, 11, n)
    with open(paths["table"], "w") as file:
        file.write("COSMOS_id,HSC_id,photo_z,log_mass,sep,selected\n")
        rows = zip(range(n), ids, redshift, mass, strict=True)
        file.writelines(f"{k},{id},{z:.4f},{m:.4f},0.1,True\n" for k, id, z, m in rows)
    return paths


def convert_words(paths, bands, store):
    """Return the words of the command that converts the survey of `write_survey` to a store."""
    files = [word for name, path in paths.items() for word in (f"--{name}", path)]
    return ["convert", "--bands", ",".join(bands), *files, "--out", store, "--overwrite"]
