"""Change one line of the package and see whether a test notices: ``python tests/mutations.py [NAME ...]``.

Each entry names the test that must fail, so a change takes seconds. mutmut and cosmic-ray change every operator and
run all tests that cover it, hours here, and can't make a scientist's mistakes: swapped labels, a unit, a seed.
"""

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Mutation:
    """A change that a test must notice.

    Attributes
    ----------
    name : str
    file : str
        From the root of the repository.
    old, new : str
        Text that occurs exactly once, and what replaces it.
    test : str
        Of pytest: file, and `::` with the function.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


GAN_LOSSES = "tests/training/test_gan_losses.py::"
MUTATIONS = [
    Mutation(
        "blocks repeat latents and noise", "galaxycgan/models/painter.py",
        "deviates = normals(seed, stream, first,", "deviates = normals(seed, stream, 0,",
        "tests/generation/test_generation.py::test_no_galaxy_repeats_another_ones_latent_numbers_or_noise",
    ),
    Mutation(
        "no gradient penalty", "galaxycgan/training/adversarial.py",
        "return turn % PENALTY_EVERY == 0,", "return False,",
        GAN_LOSSES + "test_every_fourth_step_takes_a_gradient_penalty",
    ),
    Mutation(
        "gradient penalty without weight", "galaxycgan/training/gan_losses.py",
        "PENALTY_EVERY / 2 * gamma *", "0 * gamma *",
        GAN_LOSSES + "test_a_heavier_penalty_makes_another_critic",
    ),
    Mutation(
        "learning rate never falls", "galaxycgan/training/adversarial.py",
        "min(1.0, max(0.05, (1 - progress) * 3))", "1.0",
        GAN_LOSSES + "test_the_learning_rate_of_both_networks_falls_over_the_last_third",
    ),
    Mutation(
        "learning rate not handed to the optimisers", "galaxycgan/training/adversarial.py",
        'group["lr"] = self.rate', "pass",
        GAN_LOSSES + "test_the_learning_rate_of_both_networks_falls_over_the_last_third",
    ),
    Mutation(
        "no flips and turns", "galaxycgan/training/adversarial.py",
        "dihedral(flux, symmetry(self.settings.seed, self.images)).contiguous()", "flux",
        GAN_LOSSES + "test_batches_are_flipped_and_turned_differently_from_step_to_step",
    ),
    Mutation(
        "import from files up to training", "galaxycgan/files/atomic.py",
        "from galaxycgan.errors import",
        "from galaxycgan.training.names import CHECKPOINT\nfrom galaxycgan.errors import",
        "tests/test_house.py::test_a_lower_room_never_imports_a_higher_one",
    ),
    Mutation(
        "import from catalogs up to mock", "galaxycgan/catalogs/convert/matching.py",
        "from galaxycgan.errors import", "from galaxycgan.mock import table\nfrom galaxycgan.errors import",
        "tests/test_house.py::test_a_lower_room_never_imports_a_higher_one",
    ),
    Mutation(
        "zero point of nJy", "galaxycgan/images/pixel_units.py",
        "AB_ZERO_POINT_NJY = 31.4", "AB_ZERO_POINT_NJY = 31.0",
        "tests/images/test_pixel_units.py",
    ),
    Mutation(
        "FLUXMAG0 upside down", "galaxycgan/images/pixel_units.py",
        "flux_njy(0.0) / float(fluxmag0)", "float(fluxmag0) / flux_njy(0.0)",
        "tests/images/test_pixel_units.py",
    ),
    Mutation(
        "validation half as large", "galaxycgan/catalogs/store/splits.py",
        "edges = [fractions[0], fractions[0] + fractions[1]]",
        "edges = [fractions[0], fractions[0] + fractions[1] / 2]",
        "tests/catalogs/test_store.py",
    ),
    Mutation(
        "random numbers shared by indices", "galaxycgan/randomness.py",
        "counter=first * blocks)", "counter=first)",
        "tests/test_randomness.py",
    ),
    Mutation(
        "the farthest match is kept", "galaxycgan/catalogs/convert/matching.py",
        "return np.where(values >= 0, values, np.inf)", "return np.where(values >= 0, -values, np.inf)",
        "tests/catalogs/test_convert.py",
    ),
    Mutation(
        "training order starts anew after a stop", "galaxycgan/training/loop.py",
        "index = self.sampler.rows(self.trainer.images, self.config.batch)",
        "index = self.sampler.rows(0, self.config.batch)",
        "tests/training/test_training.py::test_each_batch_shows_the_galaxies_that_come_next",
    ),
    Mutation(
        "labels of other galaxies", "galaxycgan/training/loop.py",
        "conditions = self.conditions[torch.from_numpy(index)",
        "conditions = self.conditions[torch.from_numpy(index[::-1].copy())",
        "tests/training/test_training.py::test_each_batch_shows_the_galaxies_that_come_next",
    ),
    Mutation(
        "a later generator with a worse score is released", "galaxycgan/training/loop.py",
        "if share >= 0.5 and math.isfinite(score)", "if math.isfinite(score)",
        "tests/training/test_validation.py",
    ),
    Mutation(
        "clean scores are called learned from", "galaxycgan/generation/classify.py",
        'seen[np.isin(store.ids, state["learned_from"].numpy())] = TRAIN',
        'seen[np.isin(store.ids, state["learned_from"].numpy())] = TEST',
        "tests/training/test_classifier.py -k classif",
    ),
    Mutation(
        "a GAN that saw test galaxies is taken", "galaxycgan/training/classifier_data.py",
        "if len(leaked):", "if False:",
        "tests/training/test_classifier.py -k 'gan or fold or fraction'",
    ),
    Mutation(
        "training galaxies are evaluated", "galaxycgan/evaluation/comparison_sets.py",
        "known = np.isin(store.ids, trained_on)", "known = np.zeros(store.n, bool)",
        "tests/evaluation/test_evaluation.py -k 'never or seen or unseen or samples'",
    ),
    Mutation(
        "photon noise forgotten", "galaxycgan/models/noise.py",
        "(sky.square() + self.log_gain.exp()[:, None, None] * flux.clamp_min(0)).sqrt()", "sky.expand_as(flux)",
        "tests/models/test_models.py -k noise",
    ),
    Mutation(
        "white noise", "galaxycgan/models/noise.py",
        "return flux + self.sigma(flux, depth) * self._filter(white)",
        "return flux + self.sigma(flux, depth) * white[:, :, 2:-2, 2:-2]",
        "tests/models/test_models.py -k noise",
    ),
    Mutation(
        "radii in pixels called arcsec", "galaxycgan/generation/measurement.py",
        'seen["r50"] * self.pixel_scale', 'seen["r50"]',
        "tests/generation/test_generation.py::test_the_columns_of_the_design_are_there_and_errors_hold",
    ),
    Mutation(
        "magnitudes of true fluxes swapped", "galaxycgan/generation/measurement.py",
        "(flux, error, true, magnitude, magnitude_true,", "(flux, error, true, magnitude_true, magnitude,",
        "tests/generation/test_generation.py::test_the_columns_of_the_design_are_there_and_errors_hold",
    ),
    Mutation(
        "shards overlap by a row", "galaxycgan/generation/shards.py",
        "write_catalog(path, self.request, *self.borders[k : k + 2],",
        "write_catalog(path, self.request, self.borders[k], self.borders[k + 1] - 1,",
        "tests/generation/test_shards.py",
    ),
    Mutation(
        "mass function without dex", "galaxycgan/populations/mass_function.py",
        "logs.append(np.log(np.log(10) * terms) - x)", "logs.append(np.log(terms) - x)",
        "tests/populations/test_populations.py",
    ),
    Mutation(
        "a job out of time is called done", "galaxycgan/cluster/observe.py",
        'return "killed", words.get(word, f"Slurm says {word}"), host', 'return "done", words.get(word, ""), host',
        "tests/cluster/test_submit.py",
    ),
    Mutation(
        "a request with other values counts as the same", "galaxycgan/resume.py",
        "elif _plain(there) != _plain(asked):", "elif False:",
        "tests/test_resume.py",
    ),
    Mutation(
        "an unfinished result counts as finished", "galaxycgan/resume.py",
        "if not found.finished:", "if False:",
        "tests/test_resume.py",
    ),
    Mutation(
        "rare targets are weighted down", "galaxycgan/models/classifier_learning.py",
        "pos_weight=factor", "pos_weight=1 / factor",
        "tests/training/test_classifier.py::test_balanced_classes_weigh_rare_targets_up",
    ),
    Mutation(
        "position angle mirrored", "galaxycgan/images/photometry.py",
        "np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))", "np.degrees(0.5 * np.arctan2(-2 * xy, xx - yy))",
        "tests/images/test_photometry.py",
    ),
]  # fmt: skip


def trouble(mutation, root=ROOT):
    """Say why an entry can't be tried: its text is not there once, its test is gone; '' where it can."""
    times = (root / mutation.file).read_text().count(mutation.old)
    if times != 1:
        return f"{mutation.file} holds {mutation.old!r} {times} times"
    file, _, function = mutation.test.split(" -k ")[0].partition("::")
    if not (root / file).exists():
        return f"no {file}"
    return "" if f"def {function}" in (root / file).read_text() else f"{file} has no {function}"


def caught(mutation):
    """Make a change in a copy of the tree and run its test there; return whether it fails, and what it printed."""
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as directory:
        for name in files.stdout.splitlines():
            target = Path(directory) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                shutil.copy2(ROOT / name, target)
        path = Path(directory) / mutation.file
        path.write_text(path.read_text().replace(mutation.old, mutation.new))
        test, _, words = mutation.test.partition(" -k ")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
        command += ["-k", words.strip("'")] if words else []
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": directory}
        )
        # 1: tests failed. Any other code says that they did not run.
        return done.returncode == 1, done.stdout[-1500:] if done.returncode > 1 else ""


def main(names):
    """Try changes, all without names; return the number of those that no test noticed."""
    survived = 0
    for mutation in MUTATIONS:
        if names and mutation.name not in names:
            continue
        if words := trouble(mutation):
            sys.exit(f"{mutation.name}: {words}")
        seen, output = caught(mutation)
        survived += not seen
        print(f"{'caught' if seen else 'SURVIVED'}  {mutation.name}: {mutation.test}", output, flush=True)
    return survived


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
