"""Sets of mock galaxies, good and spoiled on purpose: each spoils one thing, so that one metric should answer.

Galaxies are those of the mock survey, whose light and noise are at hand apart. Run as a program it judges full-size
sets and prints which metrics left their floor: ``python tests/evaluation/spoiled.py --n 2000``.
"""

import argparse
import contextlib
import dataclasses
import functools
from unittest import mock

import numpy as np

from galaxycgan.config import Mock
from galaxycgan.evaluation.metrics import features
from galaxycgan.evaluation.metrics import judge as judging
from galaxycgan.evaluation.metrics.goals import excess, off_floor
from galaxycgan.evaluation.metrics.judge import Galaxies, Sets, judge
from galaxycgan.mock.population import BANDS
from galaxycgan.mock.render import FourierGrid, Renderer, Sky, add_noise, draw_light, draw_pool
from galaxycgan.mock.survey import draw_objects, measured
from galaxycgan.randomness import make_rng

COLUMNS = ("photo_z", "log_mass")
IN_BANDS = ("g", "r", "i")
#: What one spoils -> metrics one of which must leave its floor, all of which may; nothing else may. A family is named
#: by its beginning.
_FEATURES = ("two_sample", "density", "coverage", "memorisation")
EXPECTED = {
    "nothing": ((), ()),
    "5% brighter": (("offset.g", "offset.i"), ("w1.", "power.", "label_rmse", *_FEATURES)),
    "blurred by 10%": (
        ("power.", "w1.r80/r50"),
        ("w1", "offset.", "power.", "label_rmse", *_FEATURES),
    ),
    "rotated labels": (("label_rmse", "w1_conditional"), ("offset.",)),
    "shuffled masses": (("label_rmse.log_mass", "w1_conditional"), ("offset.", "label_rmse")),
    "white noise": (("noise_lag.1",), ("noise_lag", "power.", "w1.", "offset.", "label_rmse", *_FEATURES)),
    "copies of the training set": (("memorisation.",), ("label_rmse", *_FEATURES)),
    "one mode missing": (("coverage",), ("w1", "label_shift", "offset.", "label_rmse", "power.", *_FEATURES)),
}


@dataclasses.dataclass
class MockSet:
    """Galaxies of one mock survey of a seed: light [n, band, y, x] in nJy, sky of each, labels [n, 2]."""

    light: np.ndarray
    skies: list
    labels: np.ndarray
    seed: int

    @classmethod
    def draw(cls, n, seed, blur=1.0, size=50):
        """Draw n galaxies; `blur` stretches the PSF."""
        objects = draw_objects(Mock(n=n, seed=seed))
        made = Renderer(seed, IN_BANDS, size, objects.galaxies, objects.patch, draw_pool(seed))
        grid, light, skies = FourierGrid(size), [], []
        for k in range(n):
            sky = made.skies[objects.patch[k]]
            sky = Sky(sky.psf_fwhm_arcsec * blur, sky.psf_q, sky.psf_pa_deg, sky.sky_rms_njy)
            rng = make_rng(seed, "mock-render", k)
            light.append(draw_light(objects.galaxies.take(k), sky, made.pool, IN_BANDS, grid, rng)[0])
            skies.append(sky)
        labels = np.column_stack(measured(objects.galaxies, make_rng(seed, "mock-table")))[:n]
        return cls(np.array(light), skies, labels, seed)

    def observe(self, factor=1.0, white=False, salt=0):
        """Return noisy images [n, band, y, x]."""
        out = np.empty_like(self.light, dtype=np.float32)
        for k, (light, sky) in enumerate(zip(self.light, self.skies, strict=True)):
            rng = make_rng(self.seed + 1_000_003 * (1 + salt), "mock-render", k)
            out[k] = _white(factor * light, sky, rng) if white else add_noise(factor * light, sky, IN_BANDS, rng)
        return out


def _white(light, sky, rng):
    """Noise of the right variance without the correlation of neighbouring pixels."""
    rms = np.array([sky.sky_rms_njy[BANDS.index(band)] for band in IN_BANDS])[:, None, None]
    return light + rms * rng.standard_normal(light.shape)


def standardise(labels, mean=(-0.8, 8.7), std=(0.37, 0.8)):
    return (np.column_stack([np.log10(labels[:, 0]), labels[:, 1]]) - mean) / std


def make_sets(n, n_train):
    """Return a function from the name of a spoiled set to `Sets`.

    Real, other and training galaxies are draws of one survey; the synthetic ones of another seed, which are as good as
    real until they are spoiled.
    """
    survey, second = MockSet.draw(2 * n + n_train, 11), MockSet.draw(n, 12)
    images, labels = survey.observe(), standardise(survey.labels)
    parts = slice(0, n), slice(n, 2 * n), slice(2 * n, None)
    real, other, training = (Galaxies(images[part], labels[part]) for part in parts)
    theirs = standardise(second.labels)
    observe = functools.cache(second.observe)

    def synthetic(name):
        random = np.random.default_rng(5)
        if name == "blurred by 10%":
            return Galaxies(MockSet.draw(n, 12, blur=1.1).observe(), theirs)
        if name == "copies of the training set":
            pick = random.permutation(n_train)[:n] if n_train >= n else random.integers(n_train, size=n)
            noise = random.normal(0, 0.1, (n, *images.shape[1:]))
            return Galaxies((training.images[pick] + noise).astype(np.float32), training.labels[pick])
        if name == "one mode missing":
            red = _redness(second.light)
            keep = np.flatnonzero(red < np.quantile(red, 0.8))
            rows = np.concatenate([keep, random.choice(keep, n - len(keep))])
            # Drawn twice, but never the same noise
            seen = observe()[rows]
            seen[len(keep) :] = observe(salt=1)[rows[len(keep) :]]
            return Galaxies(seen, theirs[rows])
        seen = {"5% brighter": {"factor": 1.05}, "white noise": {"white": True}}.get(name, {})
        seen = observe(**seen)
        wrong = theirs.copy()
        if name == "rotated labels":
            wrong = np.roll(theirs, n // 3, axis=0)
        if name == "shuffled masses":
            wrong[:, 1] = random.permutation(wrong[:, 1])
        return Galaxies(seen, wrong)

    sets = functools.cache(lambda name: Sets(real, synthetic(name), other, training, training, True, COLUMNS))
    sets.memory = {}
    return sets


def _redness(light):
    flux = light[:, :, 16:34, 16:34].sum((2, 3))
    return -2.5 * np.log10(flux[:, 0] / flux[:, 2])


def moved(found):
    """Return the metrics that left their floor, farthest first, with how far in standard deviations."""
    gone = {name: excess(name, each) for name, each in found.items() if off_floor(name, each)}
    return dict(sorted(gone.items(), key=lambda item: -item[1]))


def surprises(name, found):
    """Return what a set's metrics did wrong: those expected to move that stayed, those that moved unexpectedly.

    One that is named beforehand needs three standard deviations; of all others one is bound to scatter by as much.
    """
    must, may = EXPECTED[name]
    gone = moved(found)
    seen = any(each.startswith(must) and excess(each, found[each]) > 3 for each in found)
    stayed = list(must) if must and not seen else []
    return stayed, [each for each in gone if not each.startswith(must + may)]


@contextlib.contextmanager
def remembering(memory):
    """Measure no images twice: most are shared by all spoiled sets."""

    def once(name, images, compute):
        # The images are kept, so that no other array gets their address.
        if (name, id(images)) not in memory:
            memory[name, id(images)] = images, compute()
        return memory[name, id(images)][1]

    measure, shapes, space = judging.photometry, judging.morphology, features.FeatureSpace

    def photometry(galaxies, *rest):
        found = once("photometry", galaxies.images, lambda: measure(galaxies, *rest))
        return found | {"labels": galaxies.labels}

    def morphology(sets, *rest):
        return [once("morphology", images, lambda images=images: shapes([images], *rest)[0]) for images in sets]

    class FeatureSpace:
        def __init__(self, images, *rest):
            self.space = once("space", images, lambda: space(images, *rest))

        def __call__(self, images):
            return once("features", images, lambda: self.space(images))

    with (
        mock.patch.object(judging, "photometry", photometry),
        mock.patch.object(judging, "morphology", morphology),
        mock.patch.object(features, "FeatureSpace", FeatureSpace),
    ):
        yield


def judge_spoiled(sets, name, **options):
    """Judge one spoiled set."""
    unit = np.array([2.4, 3.0, 4.0])
    with remembering(sets.memory):
        return judge(sets(name), IN_BANDS, unit, np.random.default_rng(1), **options)


def row(name, found):
    """Return a line of the table: what left its floor, by how many of its standard deviations, and what surprises."""
    stayed, unexpected = surprises(name, found)
    words = ", ".join(f"{each} {size:.1f}" for each, size in moved(found).items())
    return f"{name}: {words or 'all at the floor'}; silent: {stayed}; unexpected: {unexpected}"


def main():
    """Print the table of full-size sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--train", type=int, default=1866)
    parser.add_argument("--quick", action="store_true", help="no morphology and no features")
    parser.add_argument("--no-shapes", action="store_true", help="no morphology, which takes longest")
    parser.add_argument("--only", nargs="*", default=list(EXPECTED))
    options = parser.parse_args()
    sets = make_sets(options.n, options.train)
    for name in options.only:
        print(
            row(name, judge_spoiled(sets, name, quick=options.quick, shapes=not options.no_shapes).metrics), flush=True
        )


if __name__ == "__main__":
    main()
