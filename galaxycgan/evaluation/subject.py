"""What is judged: a generator, or a catalog of galaxies (store or FITS), each as images for labels.

Both have the same methods. What only a generator can do - the same galaxy without noise, or at other labels - asks for
`painter`, which is None for a catalog alone.
"""

import json
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree

from galaxycgan.catalogs.export.export import FITS_SUFFIXES
from galaxycgan.catalogs.export.read import read_catalog, read_fits_images
from galaxycgan.catalogs.store.noise_recipe import has_noise
from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.atomic import sha256_file
from galaxycgan.models.conditioning import Conditioning, can_be_labels
from galaxycgan.models.painter import Painter
from galaxycgan.models.release import WEIGHTS, check_images
from galaxycgan.resources import gan_directory

#: What galaxies are compared at where a catalog does not say what it was made for.
DEFAULT_LABELS = ("photo_z", "log_mass")


class GeneratorSubject:
    """A trained generator: makes a galaxy for the labels of each real one.

    Parameters
    ----------
    run : str or Path
    device : torch.device
    """

    #: How many galaxies it has.
    most = sys.maxsize

    def __init__(self, run, device):
        self.path = gan_directory(run)
        self.painter = Painter(run, device)
        self.conditioning = self.painter.conditioning
        self.columns = tuple(self.conditioning.columns)
        self.identity = {"generator_sha256": sha256_file(self.path / WEIGHTS)}

    def check(self, store):
        """Refuse a store of images of another kind, or without the labels."""
        check_images(self.path, self.painter.card, self.painter.generator.shape.size, store)
        _need_columns(store, self.columns, f"which {self.path} is conditioned on")

    def galaxies(self, real_labels, n, seed, random):
        """Return images and labels of the galaxies to compare: the labels are those of the real galaxies."""
        return self.painter.sample(real_labels, seed), real_labels

    def alike(self, labels, seed):
        """Return images and noiseless images (or None) of galaxies with these labels, and their labels."""
        return self.painter.sample(labels, seed), self.painter.sample(labels, seed, noisy=False), labels


class CatalogSubject:
    """A catalog, whose galaxies have labels of their own.

    Parameters
    ----------
    path : str or Path
        Store, or FITS catalog with its images in a cube.

    Attributes
    ----------
    painter : Painter or None
        The generator that made it, where it is at hand; see `made_by`.
    """

    def __init__(self, path):
        self.path, self.painter = Path(path), None
        reader = _FitsFile if self.path.suffix.lower() in FITS_SUFFIXES else _StoreFile
        self.file = reader(self.path)
        made = self.file.provenance
        #: Whether the images are galaxies alone, which no real ones are.
        self.noiseless = not has_noise(made.get("request", {}))
        self.generator_sha256 = made.get("request", {}).get("generator_sha256", "")
        self.card = made.get("generator", {})
        asked = self.card.get("conditioning", {}).get("columns", DEFAULT_LABELS)
        self.columns = tuple(asked)
        _need_columns(self.file, self.columns, "which galaxies are compared at")
        self.identity = {"synthetic": self.file.fingerprint}
        self.labels = self.file.labels(self.columns)
        self.conditioning = _conditioning_of(self.card)

    def made_by(self, painter):
        """Take the generator that made it; return this catalog."""
        self.painter, self.conditioning = painter, painter.conditioning
        return self

    @property
    def most(self):
        """How many galaxies it has whose labels can be compared."""
        return len(self.usable)

    def check(self, store):
        """Refuse a store of images of another kind, or without the labels; learn how labels are scaled."""
        check_images(self.path, self.file.card, self.file.size, store)
        _need_columns(store, self.columns, f"which {self.path} was made for")
        if self.conditioning is None:
            labels = store.labels(self.columns)[store.split >= 0]
            labels = labels[can_be_labels(self.columns, labels).all(1)]
            self.conditioning = Conditioning.fit(self.columns, labels, where=str(store.path))
        self.usable = np.flatnonzero(self.conditioning.legal(self.labels) & self.file.labelled)
        if len(self.usable) < 8:
            raise UserError(f"{self.path}: {len(self.usable)} galaxies with finite {', '.join(self.columns)}; need 8")

    def galaxies(self, real_labels, n, seed, random):
        """Return images and labels of at most n galaxies of the catalog."""
        rows = np.sort(random.permutation(self.usable)[:n])
        return self.file.images(rows), self.labels[rows]

    def alike(self, labels, seed):
        """Return images and noiseless images (or None) of the galaxies nearest to these labels, and their labels."""
        tree = cKDTree(self.conditioning.standardise(self.labels[self.usable]))
        k = min(seed % 2 + 1, len(self.usable))  # another seed, another galaxy
        rows = self.usable[tree.query(self.conditioning.standardise(labels), k=[k])[1][:, 0]]
        return self.file.images(rows), self.file.noiseless(rows), self.labels[rows]


class _StoreFile:
    """A store, read as `CatalogSubject` needs it."""

    def __init__(self, path):
        self.path, self.store = path, GalaxyStore(path)
        store = self.store
        self.provenance, self.fingerprint, self.size = store.provenance, store.fingerprint, store.size
        self.columns, self.labels, self.images = store.columns, store.labels, store.images
        self.labelled = np.ones(store.n, dtype=bool) if store.synthetic else store.split >= 0
        self.card = {"bands": store.bands, "pixel_unit": store.pixel_unit, "pixel_scale_arcsec": store.pixel_scale}

    def noiseless(self, rows):
        return self.store.noiseless(rows) if self.store.has_noiseless else None


class _FitsFile:
    """A FITS catalog, read as `CatalogSubject` needs it."""

    def __init__(self, path):
        self.path = path
        try:
            with fits.open(path) as hdus:
                header, names = hdus[0].header, [hdu.name for hdu in hdus]
                if "IMAGES" not in names or "CATALOG" not in names:
                    where = str(header.get("STAMPS", ""))
                    why = f"no HDUs CATALOG and IMAGES; it has {', '.join(names)}"
                    if "CATALOG" in names and where:
                        why = f"a catalog whose images are not in an HDU of their own (STAMPS = {where})"
                    raise UserError(f"{path}: {why}; give the catalog.h5 beside it, or a FITS catalog with IMAGES")
                self.size = hdus["IMAGES"].shape[-1]
                bands = tuple(header[f"BAND{k}"] for k in range(1, header["NBAND"] + 1))
                unit, scale = header["PIXUNIT"], header["PIXSCALE"]
                text = header.get("PROVENAN", "{}")
        except (OSError, KeyError) as error:
            raise UserError(f"{path}: not a FITS catalog of galaxycgan ({str(error).splitlines()[0]})") from None
        # Of the file: its header tells of the store that it was made from, whatever was done to its images since.
        self.fingerprint = sha256_file(path)
        self.has_noiseless = "NOISELESS" in names
        self.card = {"bands": bands, "pixel_unit": unit, "pixel_scale_arcsec": scale}
        self.provenance = _json(text)
        self.table = read_catalog(path)
        self.columns = self.table.colnames
        self.labelled = np.ones(len(self.table), dtype=bool)

    def labels(self, names):
        columns = (getattr(self.table[name], "value", self.table[name]) for name in names)
        return np.stack([np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan) for column in columns], 1)

    def images(self, rows):
        return read_fits_images(self.path, rows)

    def noiseless(self, rows):
        return read_fits_images(self.path, rows, "NOISELESS") if self.has_noiseless else None


def _conditioning_of(card):
    """Return how a generator's card says that labels are scaled; None where it doesn't."""
    try:
        return Conditioning.from_dict(card["conditioning"], reference=())
    except (KeyError, TypeError):
        return None


def _json(text):
    """Return the JSON object of a header, {} where it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _need_columns(file, columns, why):
    for name in columns:
        if name not in file.columns:
            raise UserError(f"{file.path}: no column '{name}', {why}; it has {first_few(file.columns, 20)}")
