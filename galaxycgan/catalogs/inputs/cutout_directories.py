"""Directories with a file for each image: ``<HSC_id>-cutout.npy``, or FITS as HSC's cutout service names them.

Files are opened one at a time, whatever their number.
"""

import gzip
import hashlib
import io
import os
import re
import warnings
from collections import Counter

import numpy as np

from galaxycgan.catalogs.formats.hdf5 import first_line
from galaxycgan.catalogs.formats.npy import NpyFile, check_file
from galaxycgan.catalogs.inputs.cutouts import CutoutSource, SourceMetadata, central, check_pixels
from galaxycgan.errors import UserError, first_few
from galaxycgan.files.atomic import sha256_file
from galaxycgan.images.bands import HSC_FILTERS
from galaxycgan.images.pixel_units import njy_per_count

NPY_NAME = re.compile(r"(?P<id>\d{1,19})-cutout\.npy")
FITS_NAME = re.compile(r"(?P<id>\d{1,19})-cutout-(?P<filter>HSC-[A-Z]\d?|[NI]B\d{3,4})(-.*)?\.fits(\.gz|\.fz)?")
FITS_SUFFIXES = (".fits", ".fits.gz", ".fits.fz")
#: Pixel scales of one directory may differ by this share.
SCALE_TOLERANCE = 0.01
#: Size of a cutout that isn't there.
NO_FILE = np.iinfo(np.int64).max


def open_directory(path, calibrate, context):
    """Open a directory of cutouts, npy or FITS.

    Files with other suffixes, hidden files and directories are ignored and counted; an npy or FITS file whose name
    isn't that of a cutout is refused.

    Returns
    -------
    CutoutSource
    """
    try:
        with os.scandir(path) as entries:
            # a link to nothing is a file that is missing, which is said when it is opened
            found = sorted(
                (entry.name, entry.is_file() or (entry.is_symlink() and not entry.is_dir())) for entry in entries
            )
    except PermissionError:
        raise UserError(f"{path}: no permission to read this directory") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    names = [name for name, is_file in found if is_file and not name.startswith(".")]
    npy = [name for name in names if name.endswith(".npy")]
    fits = [name for name in names if name.endswith(FITS_SUFFIXES)]
    if npy and fits:
        raise UserError(f"{path}: has npy cutouts ({npy[0]}) and FITS cutouts ({fits[0]}): keep one kind there")
    if not (npy or fits):
        raise UserError(
            f"{path}: a directory without cutouts ({len(found)} other files): --images takes <HSC_id>-cutout.npy or"
            " <HSC_id>-cutout-<filter>-*.fits there"
        )
    ignored = len(found) - len(npy) - len(fits)
    notes = (f"{ignored} other files in the directory of images were ignored",) if ignored else ()
    kind = NpyDirectory(path, npy, notes) if npy else FitsDirectory(path, fits, notes, calibrate, context)
    if len(kind.metadata.ids) != len(np.unique(kind.metadata.ids)):  # 012 and 12 are the same id
        values, counts = np.unique(kind.metadata.ids, return_counts=True)
        raise UserError(f"{path}: several cutouts of one id: {first_few(values[counts > 1])}")
    return kind


def _parse_names(path, names, pattern, example):
    """Return the match of each file's name."""
    matches = [pattern.fullmatch(name) for name in names]
    bad = [name for name, match in zip(names, matches, strict=True) if not match or int(match["id"]) >= 2**63]
    if bad:
        raise UserError(f"{path}: {len(bad)} files are not named {example}: {first_few(bad)}; rename or move them")
    return matches


class Directory(CutoutSource):
    """What both kinds of directory share: names of files, and the hash over them."""

    def __init__(self, path, names):
        self.path, self._names = path, names

    def provenance(self):
        """Return the number of files, their bytes, and a sha256 over the sorted lines ``name sha256``."""
        digest, size = hashlib.sha256(), 0
        for name in self._names:
            size += (self.path / name).stat().st_size
            digest.update(f"{name} {sha256_file(self.path / name)}\n".encode())
        return {"file": self.path.name, "files": len(self._names), "bytes": size, "sha256": digest.hexdigest()}


class NpyDirectory(Directory):
    """A directory of ``<HSC_id>-cutout.npy``, each [band, y, x] and all alike."""

    def __init__(self, path, names, notes):
        super().__init__(path, names)
        matches = _parse_names(path, names, NPY_NAME, "<HSC_id>-cutout.npy")
        ids = np.array([int(match["id"]) for match in matches], np.int64)
        order = np.argsort(ids, kind="stable")
        self._files = [path / names[k] for k in order]
        first = NpyFile(self._files[0], "--images")
        check_pixels(first.path, first.dtype)
        if len(first.shape) != 3:
            raise UserError(f"{first.path}: a cutout must be [band, y, x], this is {list(first.shape)}")
        self.n, self.shape, self.dtype = len(names), first.shape, first.dtype
        self.metadata = SourceMetadata(ids=ids[order], pixels="hsc-asinh", notes=notes)
        self._check_all_alike()

    def _check_all_alike(self):
        """Refuse files of another shape or type, and truncated ones, before anything is written."""
        known, different = set(), []
        for path in self._files:
            with open(check_file(path, "--images"), "rb") as file:
                start = (file.read(128), os.fstat(file.fileno()).st_size)
            if start in known:
                continue
            one = NpyFile(path, "--images")
            if one.shape == self.shape and one.dtype == self.dtype:
                known.add(start)
            else:
                different.append(f"{path.name} ({one.dtype} {list(one.shape)})")
        if different:
            raise UserError(
                f"{self.path}: {len(different)} of {self.n} cutouts are not {self.dtype} {list(self.shape)} [band, y,"
                f" x] as {self._files[0].name} is: {first_few(different)}; move them or make them alike"
            )

    def rows(self, index, bands, size):
        out = np.empty((len(index), len(bands), size, size), self.dtype)
        cut = (bands, central(self.shape[1], size), central(self.shape[2], size))
        for k, row in enumerate(index):
            out[k] = np.load(self._files[row], allow_pickle=False)[cut]
        return out


class FitsDirectory(Directory):
    """A directory of FITS cutouts, a file for each object and band, as HSC's cutout service (DAS) delivers them.

    The image is in extension 1, in counts; FLUXMAG0 of the primary header, the counts of AB magnitude 0, makes them
    nJy, for each file by itself. Cutouts of slightly different sizes are cut each about its own centre. The band is the
    letter after ``HSC-`` in the name (R and R2 are both r), or the name of the narrow band.
    """

    def __init__(self, path, names, notes, calibrate, context):
        super().__init__(path, names)
        matches = _parse_names(path, names, FITS_NAME, "<HSC_id>-cutout-<filter>-*.fits, such as 1-cutout-HSC-G-x.fits")
        self._calibrate = calibrate
        files, filters = _by_object_and_band(path, names, matches)
        ids = np.array(sorted(files), np.int64)
        bands = [band for band in HSC_FILTERS if band in filters] + sorted(set(filters) - set(HSC_FILTERS))
        self._files = [[files[id].get(band) for band in bands] for id in ids.tolist()]
        self._bands = bands
        self.n = len(ids)
        self._scale = np.ones((self.n, len(bands)))
        shapes, sky, pixel_scale = self._read_headers(context)
        self.shape = (len(bands), *(int(side) for side in shapes.min((0, 1))))
        known = shapes[shapes[..., 0] != NO_FILE]
        sizes, counts = np.unique(known, axis=0, return_counts=True)
        self._usual = sizes[np.argmax(counts)].tolist()
        self._differ = np.flatnonzero(((shapes != self._usual) & (shapes != NO_FILE)).any((1, 2)))
        self.metadata = SourceMetadata(
            ids=ids,
            ra=sky[:, 0] if np.isfinite(sky).any() else None,
            dec=sky[:, 1] if np.isfinite(sky).any() else None,
            bands=tuple(bands),
            filters=tuple("/".join(sorted(filters[band])) for band in bands),
            pixels="nJy" if calibrate else "",
            pixel_scale=pixel_scale,
            notes=(*notes, "counts were scaled by FLUXMAG0 of each file") if calibrate else notes,
        )

    def _read_headers(self, context):
        """Read all headers once; fill in the scale to nJy.

        Returns
        -------
        shapes : int array [n, band, 2]
        sky : float64 array [n, 2]
            ICRS of the centre of the first band's image in degrees, NaN without celestial coordinates.
        pixel_scale : float
            arcsec, of the first image that tells.
        """
        shapes = np.full((self.n, len(self._bands), 2), NO_FILE)
        sky, scales = np.full((self.n, 2), np.nan), np.full(self.n, np.nan)
        self.dtype = np.dtype(np.float32)
        with context.progress("reading headers", self.n, "objects") as progress:
            for row, files in enumerate(self._files):
                context.check()
                for column, name in enumerate(files):
                    if name is None:
                        continue
                    with self._open(name) as hdus:
                        header = self._image_header(hdus, name)
                        shapes[row, column] = header["NAXIS2"], header["NAXIS1"]
                        self._scale[row, column] = self._to_njy(hdus[0].header, name)
                        if header["BITPIX"] not in (-32, 8, 16):
                            self.dtype = np.dtype(np.float64)
                        if np.isnan(sky[row]).any():
                            scales[row], sky[row] = _centre(header)
                progress.at(row + 1)
        return shapes, sky, self._one_scale(scales)

    def _one_scale(self, scales):
        """Return the pixel scale of all objects, the first's; NaN where no header tells."""
        known = np.flatnonzero(np.isfinite(scales))
        if not len(known):
            return np.nan
        other = known[np.abs(scales[known] / scales[known[0]] - 1) > SCALE_TOLERANCE]
        if len(other):
            first, odd = (next(filter(None, self._files[row])) for row in (known[0], other[0]))
            raise UserError(
                f"{self.path}: pixels of {scales[other[0]]:g} arcsec in {odd}, of {scales[known[0]]:g} in {first}"
                f" ({len(other)} of {self.n} objects differ from it): convert each scale to a store of its own"
            )
        return float(scales[known[0]])

    def _open(self, name):
        return _Opened(self.path / name)

    def _image_header(self, hdus, name):
        header = hdus[1].header
        if not hdus[1].is_image or header.get("NAXIS") != 2:
            raise UserError(f"{self.path / name}: extension 1 must be an image [y, x]")
        return header

    def _to_njy(self, header, name):
        """Return nJy per count of a file."""
        if not self._calibrate:
            return 1.0
        scale = njy_per_count(fluxmag0=header.get("FLUXMAG0"))
        if not np.isfinite(scale):
            raise UserError(
                f"{self.path / name}: no FLUXMAG0 in the primary header (counts of AB magnitude 0); give the zero point"
                " of all with --pixels, such as --pixels counts:27.0"
            )
        return scale

    def incomplete(self, bands):
        """Return which objects lack a file of one of the bands."""
        return np.array([any(row[band] is None for band in bands) for row in self._files])

    def check_size(self, size):
        """Refuse cutouts of different sizes where none is asked for, and a size that some don't have."""
        if len(self._differ) and not size:
            raise UserError(
                f"{self.path}: {len(self._differ)} of {self.n} objects have cutouts that are not"
                f" {self._usual[0]}x{self._usual[1]} pixels as most are: HSC_id"
                f" {first_few(self.metadata.ids[self._differ])}; --size {min(self.shape[1:])} cuts all about"
                " their centres"
            )
        super().check_size(size)

    def rows(self, index, bands, size):
        out = np.full((len(index), len(bands), size, size), np.nan, self.dtype)
        for k, row in enumerate(index):
            for j, band in enumerate(bands):
                name = self._files[row][band]
                if name is None:
                    continue
                with self._open(name) as hdus:
                    image = hdus[1].data
                    out[k, j] = image[central(image.shape[0], size), central(image.shape[1], size)]
                out[k, j] *= self._scale[row, band]
        return out


class _Opened:
    """A FITS file for as long as a ``with`` block lasts; damage raises `UserError`."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        from astropy.io import fits

        check_file(self.path, "--images")
        # Truncation is a warning to astropy; here reading the pixels fails then, with one line.
        self._quiet = warnings.catch_warnings()
        self._quiet.__enter__()
        warnings.simplefilter("ignore")
        try:
            # gzip's checksum is at the end, which astropy doesn't read
            packed = self.path.suffix == ".gz"
            file = io.BytesIO(gzip.decompress(self.path.read_bytes())) if packed else self.path
            self._hdus = fits.open(file, memmap=False, lazy_load_hdus=True)
        except Exception as error:  # astropy raises errors of any kind for damaged files
            self._quiet.__exit__(None, None, None)
            raise self._damaged(error) from None
        return self._hdus

    def __exit__(self, kind, error, trace):
        self._hdus.close()
        self._quiet.__exit__(None, None, None)
        if isinstance(error, Exception) and not isinstance(error, UserError):
            raise self._damaged(error) from None

    def _damaged(self, error):
        return UserError(f"{self.path}: not a readable FITS cutout: {first_line(error)}; copy it again or remove it")


def _by_object_and_band(path, names, matches):
    """Return {id: {band: file name}} and {band: {filter names}}; two files of one band are refused."""
    files, filters, twice = {}, {}, Counter()
    for name, match in zip(names, matches, strict=True):
        id, filter = int(match["id"]), match["filter"]
        band = filter[4].lower() if filter.startswith("HSC-") else filter.lower()
        filters.setdefault(band, set()).add(filter)
        twice[id] += band in files.setdefault(id, {})
        files[id][band] = name
    several = sorted(id for id, count in twice.items() if count)
    if several:
        raise UserError(
            f"{path}: {len(several)} objects have several cutouts in one band: HSC_id {first_few(several)}; keep one"
        )
    return files, filters


def _centre(header):
    """Return the pixel scale in arcsec and (ra, dec) of an image's centre in degrees, NaN where the header has none."""
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    wcs = WCS(header)
    if not wcs.has_celestial:
        return np.nan, (np.nan, np.nan)
    scale = round(3600 * float(np.sqrt(np.prod(proj_plane_pixel_scales(wcs)))), 6)
    centre = (header["NAXIS1"] - 1) / 2, (header["NAXIS2"] - 1) / 2
    j2000 = wcs.wcs.radesys in ("FK5", "") and (np.isnan(wcs.wcs.equinox) or wcs.wcs.equinox == 2000)
    if wcs.wcs.lng == 0 and wcs.wcs.lngtyp == "RA" and (wcs.wcs.radesys == "ICRS" or j2000):
        return scale, tuple(map(float, wcs.pixel_to_world_values(*centre)))  # the two agree to 0.03 arcsec
    position = wcs.pixel_to_world(*centre).icrs
    return scale, (position.ra.deg, position.dec.deg)
