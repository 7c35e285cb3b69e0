"""Batches out of a store: the same images whether they stay in memory, are read ahead, or come from workers."""

import multiprocessing
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from galaxycgan.catalogs.store.store import GalaxyStore
from galaxycgan.memory import granted_bytes
from galaxycgan.training.dataset import RealImages, StoreDataset, resident_bytes

CPU = torch.device("cpu")


@pytest.mark.parametrize("start", ["in this process", "fork", "spawn"])
def test_workers_read_the_images_and_labels_of_their_rows(survey_store, start):
    store = GalaxyStore(survey_store)
    rows = np.flatnonzero(store.split == 0)
    store.images(rows[:1])  # opens the file before workers are started
    settings = {} if start == "in this process" else {"num_workers": 2, "multiprocessing_context": start}
    loader = DataLoader(StoreDataset(store, rows), batch_size=7, **settings)
    images, labels = (torch.cat(part) for part in zip(*loader, strict=True))
    assert np.array_equal(images.numpy(), store.images(rows))
    np.testing.assert_allclose(labels.numpy(), store.labels(("photo_z", "log_mass"))[rows], rtol=1e-6)


def test_a_pickled_dataset_holds_no_images(survey_store):
    data = StoreDataset(GalaxyStore(survey_store))
    assert len(pickle.dumps(data)) < data.store.images().nbytes / 100


def read_in_child(data, pipe):
    pipe.send(data[3][0].numpy())


def test_parent_and_forked_child_read_at_the_same_time_without_mixing_rows(survey_store):
    data = StoreDataset(GalaxyStore(survey_store))
    expected = data[3][0].numpy()
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=read_in_child, args=(data, theirs))
    child.start()
    for k in range(50):
        assert np.array_equal(data[k % 10][0].numpy(), data.store.images([k % 10])[0])
    assert np.array_equal(ours.recv(), expected)
    child.join()


def test_streamed_batches_are_those_that_stay_in_memory(survey_store):
    store = GalaxyStore(survey_store)
    rows, unit = np.flatnonzero(store.split == 0), torch.tensor([1.0, 2.0, 4.0])
    resident = RealImages(store, rows, unit, CPU, budget_bytes=1 << 40)
    streamed = RealImages(store, rows, unit, CPU, budget_bytes=0)
    assert resident.resident is not None and streamed.resident is None
    batches = [np.array([5, 1, 3]), np.array([2, 2, 0]), np.array([7, 8, 9])]
    wrong = np.array([4, 4, 4])  # what was announced need not come
    for batch, following in zip(batches, [batches[1], wrong, None], strict=True):
        assert torch.equal(streamed.batch(batch, following), resident.batch(batch))
        expected = store.images(rows[batch]) / unit.numpy()[:, None, None]
        np.testing.assert_allclose(resident.batch(batch), expected, rtol=1e-6)


def test_a_jobs_share_of_memory_counts_not_the_nodes(monkeypatch):
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    whole = resident_bytes(CPU)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    assert resident_bytes(CPU) < 100 << 20 < whole
    monkeypatch.delenv("SLURM_MEM_PER_NODE")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "50")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert granted_bytes() == 100 << 20


def test_the_smallest_limit_of_nested_control_groups_counts(tmp_path, monkeypatch):
    for name, limit in (("job", "3000000"), ("job/step", "2000000"), ("job/step/task", "max")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "memory.max").write_text(limit + "\n")
    monkeypatch.setattr("galaxycgan.memory.CGROUPS", {2: (str(tmp_path), "memory.max")})
    own = tmp_path / "cgroup"
    own.write_text("3:cpu:/\n0::/job/step/task\n")
    assert granted_bytes(own) == 2_000_000
