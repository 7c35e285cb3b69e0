"""A store's images as batches for training: all on the device where they fit, else read ahead."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.utils.data import Dataset

from galaxycgan.memory import granted_bytes

#: So much of the memory may hold images; the rest is for activations and other programs.
RESIDENT_SHARE = 0.4


class StoreDataset(Dataset):
    """Images and labels of a store for a torch DataLoader.

    Any number of workers may be forked or spawned: images are read by position, never through a shared file offset, and
    a pickled dataset is little more than the store's path. Batches that a DataLoader fetches are read in one go.

    Parameters
    ----------
    store : GalaxyStore
    rows : int array, optional
        Rows of the store; None: all.
    labels : iterable of str
        Numeric catalog columns.

    Examples
    --------
    >>> data = StoreDataset(GalaxyStore("catalogs/survey.h5"), labels=("photo_z", "log_mass"))
    >>> for images, labels in DataLoader(data, batch_size=64, shuffle=True, num_workers=4):
    ...     ...  # float32 [n, band, y, x] in the store's unit, float32 [n, label]
    """

    def __init__(self, store, rows=None, labels=("photo_z", "log_mass")):
        self.store = store
        self.rows = np.arange(store.n) if rows is None else np.asarray(rows)
        self.labels = torch.from_numpy(store.labels(labels)[self.rows].astype(np.float32))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.__getitems__([index])[0]

    def __getitems__(self, indices):
        """Return [(image [band, y, x], labels [label])] for several positions."""
        images = torch.from_numpy(self.store.images(self.rows[indices]))
        return list(zip(images, self.labels[indices], strict=True))


def resident_bytes(device):
    """Return how many bytes of images may stay on a device: a share of the GPU's free memory, or of the job's."""
    if device.type == "cuda":
        return int(RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0])
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # processes of this training on this node, with a set each
    return int(RESIDENT_SHARE * granted_bytes() / sharing)


class StoredImages:
    """Images of a store that are read when they are asked for, by the means of a tensor [n, band, y, x].

    Parameters
    ----------
    store : GalaxyStore
    rows : int array [n]
    """

    def __init__(self, store, rows):
        self.store, self.rows = store, rows
        self.shape = (len(rows), len(store.bands), store.size, store.size)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return torch.from_numpy(self.store.images(self.rows[np.asarray(index)]))

    def split(self, n):
        """Yield n images at a time."""
        for start in range(0, len(self), n):
            yield self[np.arange(start, min(start + n, len(self)))]


class JoinedImages:
    """Two sets of images as one, without a copy: those of the first come first. Indexed by int tensors [k].

    Parameters
    ----------
    first, second : tensor [n, band, y, x] or StoredImages
    """

    def __init__(self, first, second):
        self.first, self.second = first, second

    def __len__(self):
        return len(self.first) + len(self.second)

    def __getitem__(self, index):
        late = index >= len(self.first)
        out = torch.empty(len(index), *self.first.shape[1:])
        out[~late] = self.first[index[~late]]
        out[late] = self.second[index[late] - len(self.first)]
        return out


def images_of(store, rows, budget_bytes):
    """Return images as a tensor [n, band, y, x] where they fit, else `StoredImages`."""
    if len(rows) * len(store.bands) * store.size**2 * 4 <= budget_bytes:
        return torch.from_numpy(store.images(rows))
    return StoredImages(store, rows)


class RealImages:
    """The training images in flux units on the device, or read from the store batch by batch where they don't fit.

    While a batch is worked on, the next one is read, if it is named.

    Parameters
    ----------
    store : GalaxyStore
        Where they are.
    rows : int array
        Rows of the training split.
    unit_njy : tensor [band]
        Flux unit.
    device : torch.device
        Where batches are needed.
    budget_bytes : int
        Memory that the whole set may take.
    """

    def __init__(self, store, rows, unit_njy, device, budget_bytes):
        self.store, self.rows, self.device = store, rows, device
        self.unit = unit_njy.to(device)[:, None, None]
        size = len(rows) * len(store.bands) * store.size**2 * 4
        self.resident = self._all() if size <= budget_bytes else None
        self._reader = ThreadPoolExecutor(1) if self.resident is None else None
        self._ahead = None

    def _all(self):
        """Return all images on the device, copied piece by piece: never more than a piece of them lies elsewhere."""
        shape = len(self.store.bands), self.store.size, self.store.size
        images = torch.empty(len(self.rows), *shape, dtype=torch.float32, device=self.device)
        done = 0
        for _, piece in self.store.pieces(rows=self.rows):
            images[done : done + len(piece)] = self._to_device(piece)
            done += len(piece)
        return images

    def _to_device(self, images):
        images = torch.from_numpy(images)
        if self.device.type == "cuda":
            images = images.pin_memory()
        return images.to(self.device, non_blocking=True) / self.unit

    def batch(self, index, following=None):
        """Return images [n, band, y, x] in flux units for positions within the training split.

        Parameters
        ----------
        index : int array [n]
        following : int array, optional
            Positions of the batch that will be asked for next: read in the background.
        """
        if self.resident is not None:
            return self.resident[torch.from_numpy(index).to(self.device)]
        expected, pending = self._ahead or (None, None)
        images = pending.result() if np.array_equal(expected, index) else self.store.images(self.rows[index])
        self._ahead = None
        if following is not None:
            self._ahead = following, self._reader.submit(self.store.images, self.rows[following])
        return self._to_device(images)
