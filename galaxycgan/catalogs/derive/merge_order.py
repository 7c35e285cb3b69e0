"""Which galaxy of which store goes where when stores are merged."""

import itertools
import json

import numpy as np

from galaxycgan.catalogs.schema.values import PlainColumn
from galaxycgan.catalogs.store.noise_recipe import has_noise
from galaxycgan.errors import UserError, first_few


class MergeOrder:
    """Which galaxy of which store comes where.

    A galaxy is known by its HSC_id. A synthetic one is known by its SYN_id among those of the same recipe, seed and
    generator: stores that are parts of one catalog keep their SYN_ids, others are numbered anew.

    Parameters
    ----------
    stores : list of GalaxyStore
        Each sorted by id.
    duplicates : str
        'refuse', or 'first': the store named first gives the galaxy.

    Attributes
    ----------
    n : int
    source, row : int64 array [n]
        Store, from 0, and row there of each galaxy.
    ids : int64 array [n]
    renumbered : bool
    remarks : list of str
        What the user should know.
    """

    def __init__(self, stores, duplicates):
        self.stores, self.remarks = stores, []
        parts = [_parts(store.provenance, store.fingerprint) if store.synthetic else {""} for store in stores]
        origins = [_origin(store, own) for store, own in zip(stores, parts, strict=True)]
        self._refuse_hidden(origins, parts)
        self._refuse_noiseless_among_noisy(parts)
        catalogs = list(dict.fromkeys(origins))
        self.renumbered = len(catalogs) > 1
        lengths = [store.n for store in stores]
        source = np.repeat(np.arange(len(stores)), lengths)
        row = np.concatenate([np.arange(n) for n in lengths])
        ids = np.concatenate([store.ids for store in stores])
        for store in stores:
            if np.any(np.diff(store.ids) < 0):
                raise UserError(f"{store.path}: {store.id_column} is not sorted; such a store can't be merged")
        catalog = np.array([catalogs.index(origin) for origin in origins])[source]
        order = np.lexsort((source, ids, catalog))
        same = (np.diff(ids[order]) == 0) & (np.diff(catalog[order]) == 0)
        kept = order[np.concatenate([[True], ~same])] if len(order) else order
        self._judge(ids[order[1:]][same], duplicates)
        self.n, self.source, self.row = len(kept), source[kept], row[kept]
        self.ids = np.arange(self.n) if self.renumbered else ids[kept]
        if self.renumbered:
            self.remarks.append("SYN_id numbered anew; the columns source and source_SYN_id tell where each came from")
            self._warn_of_shared_seeds(set().union(*parts))

    def _refuse_hidden(self, origins, parts):
        """Refuse a store whose galaxies are numbered anew beside one with galaxies of the same catalog."""
        for (one, ours, own), (other, theirs, its) in itertools.combinations(
            zip(self.stores, origins, parts, strict=True), 2
        ):
            if ours != theirs and own & its:
                raise UserError(
                    f"{one.path} and {other.path} both have galaxies of one catalog, but a merge numbered some anew:"
                    " which are the same can't be told; merge the stores that they were made of, all at once"
                )

    def _refuse_noiseless_among_noisy(self, parts):
        """Refuse catalogs whose images have no noise beside others: nobody could tell them apart any more."""
        found = {}
        for store, own in zip(self.stores, parts, strict=True):
            for request in (json.loads(part) for part in own if part.startswith("{")) if store.size else ():
                found.setdefault(has_noise(request), store.path)
        if len(found) == 2:
            raise UserError(
                f"{found[False]}: its images hold no noise, but those of {found[True]} do; merge catalogs of one kind"
            )

    def _judge(self, repeated, duplicates):
        """Refuse galaxies that are in several stores, or count them."""
        if not len(repeated):
            return
        name, repeated = self.stores[0].id_column, np.unique(repeated)
        text = f"{len(repeated):,} galaxies are in several of the stores: {name} {first_few(repeated)}"
        if duplicates != "first":
            raise UserError(
                f"{first_few([store.path for store in self.stores])}: {text};"
                " --duplicates first keeps each from the store that is named first"
            )
        self.remarks.append(f"{text}; kept from the store named first")

    def _warn_of_shared_seeds(self, origins):
        """Warn of catalogs of one generator and one seed, whose galaxies are not independent."""
        requests = {origin: json.loads(origin) for origin in origins if origin.startswith("{")}
        keys = [(one.get("generator_sha256"), (one.get("recipe") or {}).get("seed")) for one in requests.values()]
        if len(set(keys)) < len(keys):
            self.remarks.append(
                "warning: catalogs of the same GAN and seed share latent numbers and noise, row by row: their"
                " galaxies are not independent; generate one of them with another --seed"
            )

    def places(self, source):
        """Return for each row of a store its row in the merged one, -1 where it is left out: int64 [n of the store]."""
        places = np.full(self.stores[source].n, -1)
        mine = np.flatnonzero(self.source == source)
        places[self.row[mine]] = mine
        return places

    def take(self, parts):
        """Bring values of all stores, [n of each store], into the merged order."""
        starts = np.cumsum([0, *(store.n for store in self.stores[:-1])])
        rows = starts[self.source] + self.row
        return parts.take(rows) if isinstance(parts, PlainColumn) else np.concatenate(parts)[rows]


def _origin(store, parts):
    """Return what distinguishes sets of ids: '' for real galaxies, a catalog's request for synthetic ones.

    Galaxies of several catalogs have the ids of the store that they were merged into.
    """
    if len(parts) == 1:
        return next(iter(parts))
    made, fingerprint = store.provenance, store.fingerprint
    while made.get("command") == "select":
        made, fingerprint = (made["sources"]["store"][key] for key in ("provenance", "fingerprint"))
    return fingerprint


def _parts(made, fingerprint):
    """Return the requests of all catalogs that a synthetic store has galaxies of: set of str."""
    if made.get("command") in ("select", "merge"):
        sources = made["sources"].values() if made["command"] == "merge" else [made["sources"]["store"]]
        return set().union(*(_parts(one["provenance"], one["fingerprint"]) for one in sources))
    request = made.get("request")
    if not request:
        return {fingerprint}
    recipe = {key: value for key, value in (request.get("recipe") or {}).items() if key != "n"}
    return {json.dumps(request | {"recipe": recipe}, sort_keys=True)}
