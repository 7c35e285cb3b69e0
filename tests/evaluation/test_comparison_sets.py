"""No generator is judged on galaxies that it has seen, and no regressor learns from those that it judges."""

import json
import types
from pathlib import Path

import numpy as np
import pytest

from galaxycgan.catalogs.store.training_subset import TRAIN, split_of, training_subset
from galaxycgan.evaluation.comparison_sets import LEAST_TAUGHT, Samples
from galaxycgan.models.release import CARD, TRAINED_ON

IDS = 43_150_000_000_000_001 + 7 * np.arange(1000)
SURVEY = types.SimpleNamespace(ids=IDS, n=len(IDS), split=split_of(IDS), path=Path("survey.h5"), fingerprint="this")
USABLE = np.arange(len(IDS)) % 10 > 0


@pytest.fixture
def run(tmp_path):
    np.save(tmp_path / TRAINED_ON, IDS[(SURVEY.split == TRAIN) & USABLE])
    (tmp_path / CARD).write_text(json.dumps({"store": {}}))
    return tmp_path


def card(**training):
    return {"store": {"fingerprint": "this"}, "training": training}


@pytest.mark.parametrize("n", [40, 150])  # of the second, the floor needs galaxies that the generator has seen
@pytest.mark.parametrize("portion", [{}, {"fraction": 0.5}, {"fold": 1, "folds": 3}])
@pytest.mark.parametrize("of_run", [True, False])
def test_roles_share_no_galaxy(run, n, portion, of_run):
    seen = training_subset(IDS, SURVEY.split, **portion) == TRAIN
    random = np.random.default_rng(0)
    if of_run:
        np.save(run / TRAINED_ON, IDS[seen & USABLE])
        found = Samples.of_run(SURVEY, USABLE, run, n, random)
    else:
        found = Samples.of_catalog(SURVEY, USABLE, card(**portion), n, random, Path("catalog.h5"))
    assert len(found.rows) == len(found.others) == n
    assert not seen[found.rows].any() and found.others_unseen == (not seen[found.others].any())
    store, taught = found.teachers
    assert store is SURVEY and len(taught) >= LEAST_TAUGHT
    assert len(np.unique(np.concatenate([found.rows, found.others, taught]))) == 2 * n + len(taught)
    assert np.array_equal(found.searched()[1], np.flatnonzero(seen & USABLE))
    assert USABLE[np.concatenate([found.rows, found.others, taught])].all()


def test_without_the_generators_own_galaxies_three_sets_come_from_the_survey_and_it_is_said():
    other = {"store": {"fingerprint": "another"}}
    found = Samples.of_catalog(SURVEY, USABLE, other, 200, np.random.default_rng(0), Path("catalog.h5"))
    assert found.searched() is None and "is unknown here" in found.remark
    taught = found.teachers[1]
    assert len(np.unique(np.concatenate([found.rows, found.others, taught]))) == 400 + len(taught)
