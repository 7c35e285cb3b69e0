"""The stage classify: a trained classifier and a store in, a FITS table with a probability for each galaxy out."""

import os
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits

from galaxycgan import __version__
from galaxycgan.catalogs.export import ascii_text
from galaxycgan.catalogs.fits import add_cards
from galaxycgan.catalogs.store import GalaxyStore, find_store
from galaxycgan.errors import UserError
from galaxycgan.files import atomic_path, sha256_file
from galaxycgan.models.device import choose_device, set_threads
from galaxycgan.models.release import check_images
from galaxycgan.training.classifier import MODEL, load_classifier, logits

CHUNK = 4096


def classify(config, context):
    """Write ids and probabilities of all galaxies of a store.

    Parameters
    ----------
    config : galaxycgan.config.Classify
        Options.
    context : galaxycgan.context.Context
        How it is run.
    """
    set_threads(config.threads)
    device = choose_device(config.device)
    out = Path(config.out)
    network, state = load_classifier(config.model, device)
    model_sha256 = sha256_file(Path(config.model) / MODEL)
    with GalaxyStore(find_store(config.store)) as store:
        if out.exists() and not config.overwrite:
            if _is_same(out, model_sha256, store.fingerprint):
                context.say(f"{out}: is done; --overwrite makes it again")
                return
            raise UserError(f"{out}: holds something else; choose another --out, or --overwrite")
        check_images(config.model, state, state["size"], store)
        probability = np.empty(store.n, dtype=np.float32)
        with context.progress("classifying", store.n, "galaxies") as progress:
            for first in range(0, store.n, CHUNK):
                context.check()
                images = torch.from_numpy(store.images(slice(first, first + CHUNK)))
                probability[first : first + CHUNK] = torch.sigmoid(logits(network, images, device)).numpy()
                progress.at(min(first + CHUNK, store.n))
        table = _table(store, probability, state["target"], model_sha256, context.created)
    with atomic_path(out) as temporary:
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(temporary, checksum=False, output_verify="exception")
    context.say(f"{out}: probabilities of {len(probability):,} galaxies for '{state['target']}'")


def _is_same(path, model_sha256, fingerprint):
    """Tell whether a file is the result of this model on this store."""
    try:
        header = fits.getheader(path, "CLASSIFIED")
    except (OSError, KeyError):
        return False
    return (header.get("MODELSHA"), header.get("STORESHA")) == (model_sha256, fingerprint)


def _table(store, probability, target, model_sha256, created):
    """Binary table with id, probability and split."""
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(store.id_column, "K", array=store.ids),
            fits.Column("probability", "E", array=probability),
            fits.Column("split", "I", array=store.split.astype(np.int16)),
        ],
        name="CLASSIFIED",
    )
    comments = ("object id", "of fulfilling TARGET", "0 train, 1 validation, 2 test, -1 none: no clean score on 0")
    for k, (comment, ucd) in enumerate(
        zip(comments, ("meta.id;meta.main", "stat.probability", "meta.code"), strict=True), 1
    ):
        table.header[f"TCOMM{k}"] = comment
        table.header[f"TUCD{k}"] = ucd
    cards = [
        ("TARGET", ascii_text(target), "condition that the probability is for"),
        ("STORE", ascii_text(os.path.basename(store.path)), "store that was classified"),
        ("STORESHA", store.fingerprint, "fingerprint of the store"),
        ("MODELSHA", model_sha256, "SHA-256 of the classifier"),
        ("CREATOR", f"galaxycgan {__version__}", "software"),
        ("DATE", created.rstrip("Z"), "time of the request (UTC)"),
    ]
    add_cards(table.header, cards)
    table.add_checksum(when=created)
    return table
