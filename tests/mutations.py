"""Change one line of the package and see that a test fails: a check of the tests, not of the package.

`python tests/mutations.py` tries all changes, `python tests/mutations.py NAME ...` some; the exit code is the number
of those that no test noticed. Each change is applied to a copy of the files that git tracks, in a temporary directory,
and the test that must fail is run there; without a change all of them must pass.

mutmut and cosmic-ray change every operator of every line and would run this suite, which trains networks, thousands of
times; here a few lines that decide whether a catalog or a score is right are named, each with the one test that is
responsible for it, so that all of them take minutes.

To add a change: append it to `CHANGES` and run it by its name. `tests/test_mutations.py` checks that every entry still
fits the code.
"""

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Tests that take longer than this many seconds are stopped: a change may make a loop endless.
LONGEST_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Change:
    """One change of the code.

    Attributes
    ----------
    name : str
        What is wrong after it.
    file : str
        Of the package, below `galaxycgan/`.
    old, new : str
        Text in the file, which occurs once, and what replaces it.
    test : str
        The test that must fail: ``file.py::test_name`` below `tests/`; all parameters of the test are run.
    """

    name: str
    file: str
    old: str
    new: str
    test: str

    @property
    def path(self):
        """Path of the file below the root of the repository."""
        return Path("galaxycgan", self.file)

    def changed(self, text):
        """Return the text of the file with the change.

        Raises
        ------
        ValueError
            Where the old text does not occur exactly once.
        """
        if (times := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: {self.old!r} occurs {times} times in {self.path}; mend the entry")
        return text.replace(self.old, self.new)


CHANGES = [
    # Random numbers: each galaxy its own.
    Change(
        "every block repeats the latents and the noise of the first",
        "models/painter.py",
        "normals(seed, stream, first, BLOCK, int(np.prod(shape)))",
        "normals(seed, stream, 0, BLOCK, int(np.prod(shape)))",
        "models/test_painter.py::test_each_galaxy_of_each_block_has_latents_and_noise_of_its_own",
    ),
    # Training.
    Change(
        "the gradient penalty is never taken",
        "training/adversarial.py",
        "return turn % PENALTY_EVERY == 0, columns",
        "return False, columns",
        "training/test_step.py::test_every_fourth_step_takes_the_gradient_penalty",
    ),
    Change(
        "the gradient penalty is reported but not minimised",
        "training/gan_losses.py",
        "loss = loss + PENALTY_EVERY / 2 * gamma",
        "loss = loss + 0 * PENALTY_EVERY / 2 * gamma",
        "training/test_step.py::test_the_penalty_is_a_part_of_what_the_critics_minimise",
    ),
    Change(
        "the learning rate never falls",
        "training/adversarial.py",
        "return min(1.0, max(0.05, (1 - progress) * 3))",
        "return 1.0",
        "training/test_step.py::test_the_learning_rate_falls_over_the_last_third",
    ),
    Change(
        "training images are never flipped nor turned",
        "training/adversarial.py",
        "real = dihedral(flux, symmetry(self.settings.seed, self.images)).contiguous()",
        "real = flux.contiguous()",
        "training/test_step.py::test_networks_see_each_batch_flipped_and_turned_in_its_own_way",
    ),
    # Random numbers: no two uses, seeds or indices share them.
    Change(
        "two streams of random numbers are one",
        "randomness.py",
        '"critics": 7,',
        '"critics": 5,',
        "test_randomness.py::test_no_two_uses_seeds_or_indices_share_numbers",
    ),
    Change(
        "neighbouring indices share random numbers",
        "randomness.py",
        "counter=[0, 0, index, 0]",
        "counter=[index, 0, 0, 0]",
        "test_randomness.py::test_no_two_uses_seeds_or_indices_share_numbers",
    ),
    Change(
        "the order of a training does not depend on its seed",
        "randomness.py",
        'make_rng(seed, "order", epoch)',
        'make_rng(0, "order", epoch)',
        "test_randomness.py::test_an_epoch_shows_each_galaxy_once_whatever_the_batch",
    ),
    Change(
        "a seed makes other galaxies than in earlier versions",
        "randomness.py",
        "radius * np.cos(angle), radius * np.sin(angle)",
        "radius * np.sin(angle), radius * np.cos(angle)",
        "test_randomness.py::test_the_numbers_of_a_seed_stay_what_they_were",
    ),
    # Training: labels, losses, averages.
    Change(
        "every step has the same latents",
        "training/adversarial.py",
        "first = GALAXIES_PER_LABEL * self.images",
        "first = 0",
        "training/test_step.py::test_no_galaxy_of_a_training_shares_its_random_numbers_with_another",
    ),
    Change(
        "both galaxies of a label have the same latents",
        "training/adversarial.py",
        "(first + k * batch + piece.start for k",
        "(first + piece.start for k",
        "training/test_step.py::test_no_galaxy_of_a_training_shares_its_random_numbers_with_another",
    ),
    Change(
        "generated galaxies have the labels of others",
        "training/adversarial.py",
        "conditions.repeat(GALAXIES_PER_LABEL, 1)",
        "conditions.repeat_interleave(GALAXIES_PER_LABEL, 0)",
        "training/test_step.py::test_generated_galaxies_have_the_labels_of_the_real_ones_beside_them",
    ),
    Change(
        "critics are told the labels of others for generated galaxies",
        "training/gan_losses.py",
        "torch.cat([conditions, conditions])",
        "torch.cat([conditions, conditions.roll(1, 0)])",
        "training/test_step.py::test_both_critics_compare_pairs_of_one_label_and_both_teach",
    ),
    Change(
        "the photometric critic never learns",
        "training/gan_losses.py",
        "loss = losses[0] + losses[1]",
        "loss = losses[0]",
        "training/test_step.py::test_both_critics_compare_pairs_of_one_label_and_both_teach",
    ),
    Change(
        "the photometric critic teaches with the image critic's weight",
        "training/gan_losses.py",
        "return losses[0] + weight * losses[1]",
        "return losses[0] + losses[1]",
        "training/test_step.py::test_both_critics_compare_pairs_of_one_label_and_both_teach",
    ),
    Change(
        "no answer to a label is asked for",
        "training/adversarial.py",
        "columns = [] if early else self.columns",
        "columns = []",
        "training/test_step.py::test_each_label_is_moved_in_its_turn_and_never_in_a_step_with_the_penalty",
    ),
    Change(
        "all labels are moved together",
        "training/gan_losses.py",
        "moved[:, column] += STEP",
        "moved += STEP",
        "training/test_step.py::test_a_label_alone_is_moved_and_the_answer_weighs_as_often_as_it_is_asked",
    ),
    Change(
        "the averaged generator is the last one",
        "training/adversarial.py",
        "span = max(self.settings.batch, min(self.images / 10, LONGEST_AVERAGE_IMAGES))",
        "span = self.settings.batch",
        "training/test_step.py::test_the_average_spans_a_tenth_of_the_images_shown_up_to_a_longest_one",
    ),
    # Photometry: the radii of its definitions.
    Change(
        "the aperture is wider",
        "images/photometry.py",
        "SKY_RADIUS, APERTURE_RADIUS, GROWTH_RADIUS, MOMENT_RADIUS = 22.0, 9.0, 15.0, 12.0",
        "SKY_RADIUS, APERTURE_RADIUS, GROWTH_RADIUS, MOMENT_RADIUS = 22.0, 10.0, 15.0, 12.0",
        "images/test_photometry.py::test_the_radii_are_those_that_the_definitions_tell",
    ),
    Change(
        "the sky begins nearer to the galaxy",
        "images/photometry.py",
        "SKY_RADIUS, APERTURE_RADIUS, GROWTH_RADIUS, MOMENT_RADIUS = 22.0, 9.0, 15.0, 12.0",
        "SKY_RADIUS, APERTURE_RADIUS, GROWTH_RADIUS, MOMENT_RADIUS = 20.0, 9.0, 15.0, 12.0",
        "images/test_photometry.py::test_the_radii_are_those_that_the_definitions_tell",
    ),
    Change(
        "curves of growth go farther",
        "images/photometry.py",
        "SKY_RADIUS, APERTURE_RADIUS, GROWTH_RADIUS, MOMENT_RADIUS = 22.0, 9.0, 15.0, 12.0",
        "SKY_RADIUS, APERTURE_RADIUS, GROWTH_RADIUS, MOMENT_RADIUS = 22.0, 9.0, 17.0, 12.0",
        "images/test_photometry.py::test_the_radii_are_those_that_the_definitions_tell",
    ),
    Change(
        "moments are taken farther out",
        "images/photometry.py",
        "SKY_RADIUS, APERTURE_RADIUS, GROWTH_RADIUS, MOMENT_RADIUS = 22.0, 9.0, 15.0, 12.0",
        "SKY_RADIUS, APERTURE_RADIUS, GROWTH_RADIUS, MOMENT_RADIUS = 22.0, 9.0, 15.0, 14.0",
        "images/test_photometry.py::test_the_radii_are_those_that_the_definitions_tell",
    ),
    Change(
        "the sky of other stamps is not in proportion",
        "images/photometry.py",
        "return self.radius > SKY_RADIUS * self.scale",
        "return self.radius > SKY_RADIUS",
        "images/test_photometry.py::test_the_radii_are_those_that_the_definitions_tell",
    ),
    Change(
        "r20 holds a quarter of the light",
        "images/photometry.py",
        '("r20", 0.2)',
        '("r20", 0.25)',
        "images/test_photometry.py::test_each_radius_holds_its_share_and_the_sky_noise_is_a_standard_deviation",
    ),
    Change(
        "the sky noise is a variance",
        "images/photometry.py",
        '"sky_rms": sky_pixels.std(axis=2)',
        '"sky_rms": sky_pixels.var(axis=2)',
        "images/test_photometry.py::test_each_radius_holds_its_share_and_the_sky_noise_is_a_standard_deviation",
    ),
    Change(
        "position angles turn the other way",
        "images/photometry.py",
        "np.arctan2(2 * xy, xx - yy)",
        "np.arctan2(-2 * xy, xx - yy)",
        "images/test_photometry.py::test_axis_ratio_and_position_angle",
    ),
    # Classifiers.
    Change(
        "the weight of rare galaxies is left out of the loss",
        "models/classifier_learning.py",
        "wanted[pick].to(device), pos_weight=factor)",
        "wanted[pick].to(device))",
        "evaluation/test_classifier_scores.py::test_a_weighted_epoch_learns_from_both_kinds_alike",
    ),
    Change(
        "a galaxy at the threshold is not called",
        "evaluation/classifiers/scores.py",
        "    called = probability >= threshold\n    log",
        "    called = probability > threshold\n    log",
        "evaluation/test_classifier_scores.py::test_a_galaxy_at_the_threshold_is_called",
    ),
    Change(
        "bootstrap draws take each galaxy once",
        "evaluation/classifiers/scores.py",
        "random.multinomial(n, np.full(n, 1 / n), size=draws).astype(float)",
        "np.ones((draws, n))",
        "evaluation/test_classifier_scores.py::test_intervals_hold_what_new_galaxies_give",
    ),
    Change(
        "the interval of purity is that of completeness",
        "evaluation/classifiers/scores.py",
        'intervals["purity"], intervals["completeness"] = (',
        'intervals["completeness"], intervals["purity"] = (',
        "evaluation/test_classifier_scores.py::test_intervals_of_few_galaxies_hold_the_truth",
    ),
    Change(
        "galaxies that stop a fold's training are drawn as the fraction is",
        "catalogs/store/training_subset.py",
        '"galaxycgan-stop-1"',
        '"galaxycgan-fraction-1"',
        "evaluation/test_classifier_scores.py::test_folds_cover_training_and_validation_once_and_never_touch_the_test_split",
    ),
    # Evaluation: nobody is judged on what was learned.
    Change(
        "a generator is judged on galaxies that it has seen",
        "evaluation/comparison_sets.py",
        "known = np.isin(store.ids, trained_on)",
        "known = np.zeros(store.n, dtype=bool)",
        "evaluation/test_comparison_sets.py::test_roles_share_no_galaxy",
    ),
    Change(
        "a catalog is judged on galaxies that its generator has seen",
        "evaluation/comparison_sets.py",
        "**options) == TRAIN",
        "**options) > TRAIN",
        "evaluation/test_comparison_sets.py::test_roles_share_no_galaxy",
    ),
    Change(
        "a catalog's generator is taken to have seen the whole training split",
        "evaluation/comparison_sets.py",
        "known = training_subset(store.ids, store.split, **options) == TRAIN",
        "known = store.split == TRAIN",
        "evaluation/test_comparison_sets.py::test_roles_share_no_galaxy",
    ),
    Change(
        "regressors learn from galaxies that they judge",
        "evaluation/comparison_sets.py",
        "rows = rows[~np.isin(source.ids[rows], store.ids[others])]",
        "rows = rows[:]",
        "evaluation/test_comparison_sets.py::test_roles_share_no_galaxy",
    ),
    # Jobs: how they stand.
    Change(
        "a job that ran out of time was cancelled",
        "cluster/observe.py",
        'if word.startswith("CANCELLED"):',
        'if word.startswith(("CANCELLED", "TIMEOUT")):',
        "cluster/test_observe.py::test_a_job_that_believes_that_it_runs_stands_as_slurm_says",
    ),
    Change(
        "a job's first start counts as a restart",
        "cluster/observe.py",
        'max(said.get("starts", 0) - 1, 0)',
        'max(said.get("starts", 0), 0)',
        "cluster/test_observe.py::test_a_job_that_believes_that_it_runs_stands_as_slurm_says",
    ),
    Change(
        "a job that saved its state has failed",
        "cluster/observe.py",
        '"stopped": 75}',
        '"stopped": 1}',
        "cluster/test_observe.py::test_a_job_that_the_user_cancelled_was_not_killed",
    ),
    Change(
        "the end of an earlier submission is this one's",
        "cluster/observe.py",
        'started = said.get("attempt") == submission["attempt"]',
        "started = True",
        "cluster/test_observe.py::test_the_end_of_an_earlier_submission_is_not_this_ones",
    ),
    Change(
        "stopped jobs hide failed ones",
        "cluster/observe.py",
        "if code not in (0, 75)]",
        "if code]",
        "cluster/test_observe.py::test_the_first_failure_stands_for_many_jobs",
    ),
    # Floors and intervals of metrics.
    Change(
        "floors are of half as many galaxies",
        "evaluation/metrics/resampling.py",
        "pool = real if other is None else join(real, other)",
        "pool = real",
        "evaluation/test_resampling.py::test_a_floor_is_of_all_real_galaxies_none_twice",
    ),
    Change(
        "both sides of a floor hold the same galaxies",
        "evaluation/metrics/resampling.py",
        "take(pool, order[half : 2 * half])",
        "take(pool, order[half // 2 : half // 2 + half])",
        "evaluation/test_resampling.py::test_a_floor_is_of_all_real_galaxies_none_twice",
    ),
    Change(
        "half-samples repeat galaxies",
        "evaluation/metrics/resampling.py",
        "random.permutation(count(each))[",
        "random.integers(count(each), size=count(each))[",
        "evaluation/test_resampling.py::test_an_interval_is_of_halves_of_both_sets_none_twice",
    ),
    Change(
        "intervals lie about the mean of the draws",
        "evaluation/metrics/resampling.py",
        "np.quantile(shifts, QUANTILES) - shifts.mean()",
        "np.quantile(shifts, QUANTILES)",
        "evaluation/test_resampling.py::test_an_interval_holds_what_draws_scatter_about_the_value",
    ),
    # Catalogs: what their columns hold.
    Change(
        "r50 is in pixels",
        "generation/measurement.py",
        'seen["r50"] * self.pixel_scale',
        'seen["r50"]',
        "generation/test_measurement.py::test_each_column_is_of_its_band_and_image",
    ),
    Change(
        "magnitudes and true magnitudes are swapped",
        "generation/measurement.py",
        "ab_magnitude(flux), ab_magnitude(true)",
        "ab_magnitude(true), ab_magnitude(flux)",
        "generation/test_measurement.py::test_each_column_is_of_its_band_and_image",
    ),
    Change(
        "columns are in the order of another band",
        "generation/measurement.py",
        "values = [stem[:, k] for k in range(len(self.bands))",
        "values = [stem[:, -1 - k] for k in range(len(self.bands))",
        "generation/test_measurement.py::test_each_column_is_of_its_band_and_image",
    ),
    Change(
        "clean images have an error",
        "generation/measurement.py",
        "if noisy else np.zeros_like(flux)",
        "if noisy else np.ones_like(flux)",
        "generation/test_measurement.py::test_without_noise_the_flux_is_the_true_one_and_has_no_error",
    ),
    Change(
        "smoothing widens the labels",
        "populations/populations.py",
        " / np.sqrt(1 + width**2))",
        ")",
        "populations/test_populations.py::test_smoothed_labels_keep_the_mean_and_the_covariance_of_the_training_galaxies",
    ),
    Change(
        "points of a grid come in turn instead of some times in a row",
        "populations/populations.py",
        "np.arange(first, stop) // self.repeat",
        "np.arange(first, stop) % self.repeat",
        "generation/test_generation.py::test_grid_and_uniform_recipes_ask_for_what_they_say",
    ),
    # Which generator is released.
    Change(
        "generators are chosen by training galaxies",
        "training/validation.py",
        "(store.split == 1) & legal",
        "(store.split == 0) & legal",
        "training/test_validation.py::test_it_looks_at_validation_galaxies_with_all_labels_and_at_no_others",
    ),
    Change(
        "all draws of a score are the same galaxies",
        "training/validation.py",
        "index = k * MOST + first",
        "index = first",
        "training/test_validation.py::test_each_galaxy_that_is_drawn_for_a_score_is_another_and_the_same_at_each_tick",
    ),
    Change(
        "averages of weights are the last weights",
        "models/averaging.py",
        "list(now), weight)",
        "list(now), 1.0)",
        "models/test_models.py::test_an_average_moves_by_its_share_and_leaves_the_network_alone",
    ),
    # Galaxies in frames.
    Change(
        "the truth tells row numbers for ids",
        "generation/truth.py",
        '{"SYN_id": catalog.ids[rows]}',
        '{"SYN_id": np.asarray(rows)}',
        "generation/test_inject.py::test_galaxies_of_a_selection_keep_their_ids_and_all_that_is_told_of_them",
    ),
    Change(
        "ids of a table of positions are taken for row numbers",
        "generation/inject.py",
        'catalog.rows_of(whole_numbers(table["SYN_id"], path, "SYN_id"))',
        'whole_numbers(table["SYN_id"], path, "SYN_id")',
        "generation/test_inject.py::test_galaxies_of_a_selection_keep_their_ids_and_all_that_is_told_of_them",
    ),
    Change(
        "the truth tells the labels of the first galaxies",
        "generation/truth.py",
        "catalog.column(name)[rows], (unit",
        "catalog.column(name)[: len(rows)], (unit",
        "generation/test_inject.py::test_galaxies_of_a_selection_keep_their_ids_and_all_that_is_told_of_them",
    ),
    Change(
        "the first band is added to every frame",
        "generation/inject.py",
        "catalog.bands.index(band), rows",
        "0, rows",
        "generation/test_inject.py::test_galaxies_of_a_selection_keep_their_ids_and_all_that_is_told_of_them",
    ),
    Change(
        "the frame's own light is told in counts",
        "generation/inject.py",
        'for at in facts.pop("apertures")]) / factor',
        'for at in facts.pop("apertures")])',
        "generation/test_inject.py::test_the_light_of_the_frame_is_told_in_njy",
    ),
    Change(
        "positions of cutouts are half a pixel off",
        "catalogs/inputs/cutout_directories.py",
        '(header["NAXIS1"] - 1) / 2, (header["NAXIS2"] - 1) / 2',
        'header["NAXIS1"] / 2, header["NAXIS2"] / 2',
        "catalogs/test_inputs.py::test_the_position_of_a_cutout_is_that_of_its_centre_to_a_hundredth_of_a_pixel",
    ),
    # What a training starts from.
    Change(
        "the gain of photon noise has another unit",
        "training/train_gan.py",
        "log_depth, gain / unit)",
        "log_depth, gain)",
        "training/test_training.py::test_a_training_starts_from_the_noise_of_its_images_in_units_of_twice_the_sky_noise",
    ),
    Change(
        "images are multiplied by the flux unit",
        "training/dataset.py",
        "non_blocking=True) / self.unit",
        "non_blocking=True) * self.unit",
        "training/test_dataset.py::test_streamed_batches_are_those_that_stay_in_memory",
    ),
    Change(
        "critics of few galaxies are not disturbed",
        "training/train_gan.py",
        "config.seed, strength(len(rows)))",
        "config.seed, 0.0)",
        "training/test_training.py::test_a_trainer_gets_the_options_and_as_much_disturbance_as_few_galaxies_need",
    ),
    Change(
        "a generator learns from validation and test galaxies",
        "training/gan_data.py",
        "np.flatnonzero(store.split == TRAIN)",
        "np.flatnonzero(store.split >= TRAIN)",
        "training/test_training.py::test_the_run_directory_holds_what_a_user_needs",
    ),
    Change(
        "negative pixels have photon noise",
        "models/noise.py",
        "* flux.clamp_min(0)",
        "* flux.abs()",
        "models/test_models.py::test_pixels_below_the_sky_have_the_noise_of_the_sky",
    ),
    Change(
        "noise is filtered by its autocorrelation",
        "models/noise.py",
        "np.sqrt(np.maximum(power, 1e-3))",
        "np.maximum(power, 1e-3)",
        "models/test_models.py::test_the_noise_layer_starts_with_the_measured_amplitude_and_correlation",
    ),
    Change(
        "a galaxy is its own nearest one in the measure of novelty",
        "models/conditioning.py",
        "k=[min(k + 1, len(self.reference))]",
        "k=[1]",
        "models/test_models.py::test_conditioning_is_inverted_and_flags_what_it_has_not_seen",
    ),
    # Classifiers: which galaxies are seen when.
    Change(
        "epochs are judged by training galaxies",
        "training/classifier_loop.py",
        "held = self.splits[1]",
        "held = self.splits[0]",
        "training/test_classifier.py::test_validation_galaxies_judge_each_epoch_and_calibrate",
    ),
    Change(
        "probabilities are calibrated on test galaxies",
        "training/train_classifier.py",
        "trainer, held = self.trainer, self.splits[1]",
        "trainer, held = self.trainer, self.splits[2]",
        "training/test_classifier.py::test_validation_galaxies_judge_each_epoch_and_calibrate",
    ),
    Change(
        "a model hides which galaxies it learned from",
        "training/train_classifier.py",
        "own = self.splits[0].ids",
        "own = self.splits[2].ids",
        "training/test_classifier.py::test_validation_galaxies_judge_each_epoch_and_calibrate",
    ),
    Change(
        "all epochs have one order",
        "training/classifier_loop.py",
        'make_rng(self.config.seed, "order", number)',
        'make_rng(self.config.seed, "order", 0)',
        "training/test_classifier.py::test_each_epoch_has_an_order_of_its_own",
    ),
    Change(
        "a GAN that saw validation galaxies teaches",
        "training/classifier_data.py",
        "np.isin(store.split, (VALIDATION, TEST))",
        "np.isin(store.split, (TEST,))",
        "training/test_classifier.py::test_a_gan_that_saw_one_held_out_galaxy_is_refused",
    ),
    Change(
        "a survey of validation galaxies is judged on",
        "training/classifier_data.py",
        "np.isin(store.split, (TRAIN, VALIDATION))",
        "np.isin(store.split, (TRAIN,))",
        "training/test_classifier.py::test_a_survey_that_shares_galaxies_with_training_or_validation_is_refused",
    ),
    Change(
        "generated galaxies are the same in every epoch",
        "training/classifier_data.py",
        'make_rng(self.seed, "request", number)',
        'make_rng(self.seed, "request", 0)',
        "training/test_classifier.py::test_generated_galaxies_make_up_their_share_of_an_epoch",
    ),
    Change(
        "the scatter between seeds is that of a whole population",
        "evaluation/classifiers/paired_bootstrap.py",
        "np.std(values, ddof=1)",
        "np.std(values)",
        "training/test_study.py::test_the_scatter_between_seeds_is_that_of_a_sample",
    ),
]


def copy_tree(where):
    """Copy the files that git tracks, as they are now."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in names.decode().split("\0"):
        if (ROOT / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, where / name)


def run_tests(root, *tests):
    """Run tests of a copy; return pytest's exit code (0: passed, 1: failed) and what it said.

    A test that takes too long has failed.
    """
    options = ["-q", "-x", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *(f"tests/{each}" for each in tests)]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS * len(tests)
        )
    except subprocess.TimeoutExpired:
        return 1, "took too long"
    return done.returncode, done.stdout + done.stderr


def attempt(change, root):
    """Apply a change to a copy of the tree, run its test, undo the change; return 'caught', 'survived' or a trouble."""
    path = root / change.path
    text = path.read_text()
    path.write_text(change.changed(text))
    try:
        code, said = run_tests(root, change.test)
    finally:
        path.write_text(text)
    # Other codes: the test is not there, or pytest could not start.
    return {0: "survived", 1: "caught"}.get(code, f"no verdict:\n{said}")


def main(names):
    """Try the changes of these names, all where there are none; return how many were not caught."""
    unknown = set(names) - {change.name for change in CHANGES}
    if unknown:
        sys.exit(f"no change is named {', '.join(sorted(unknown))}; there are:\n" + "\n".join(c.name for c in CHANGES))
    chosen, missed = [change for change in CHANGES if not names or change.name in names], 0
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        copy_tree(root)
        # A test that fails without a change notices nothing.
        code, said = run_tests(root, *dict.fromkeys(change.test for change in chosen))
        if code:
            sys.exit(f"the tests do not pass without a change:\n{said}")
        for change in chosen:
            start = time.monotonic()
            verdict = attempt(change, root)
            missed += verdict != "caught"
            print(f"{verdict:<9} {time.monotonic() - start:4.0f} s  {change.name}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
