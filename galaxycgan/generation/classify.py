"""The stage classify: a trained classifier and a store in, a FITS table with a probability for each galaxy out."""

import functools
import os
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits

from galaxycgan import __version__
from galaxycgan.catalogs.export.export import ascii_text
from galaxycgan.catalogs.formats.fits import add_cards
from galaxycgan.catalogs.formats.suffixes import check_suffix
from galaxycgan.catalogs.store.noise_recipe import has_noise
from galaxycgan.catalogs.store.store import GalaxyStore, find_store
from galaxycgan.catalogs.store.training_subset import TEST, TRAIN, VALIDATION
from galaxycgan.files.atomic import atomic_path, sha256_file
from galaxycgan.models.device import choose_device, set_threads
from galaxycgan.models.release import check_images
from galaxycgan.resume import Decision, Found, existing_result
from galaxycgan.training.classifier_model import MODEL, load_classifier, probabilities

CHUNK = 4096


def classify(config, context):
    """Write ids, calibrated probabilities and classes of all galaxies of a store.

    Parameters
    ----------
    config : galaxycgan.config.Classify
        Options.
    context : galaxycgan.context.Context
        How it is run.
    """
    check_suffix(config.out)
    set_threads(config.threads)
    device = choose_device(config.device)
    out = Path(config.out)
    network, state = load_classifier(config.model, device)
    model_sha256 = sha256_file(Path(config.model) / MODEL)
    with GalaxyStore(find_store(config.store)) as store:
        request, read = {"model": model_sha256, "store": store.fingerprint}, functools.partial(_found, out)
        if existing_result(out, request, read, overwrite=config.overwrite, context=context) is Decision.MADE:
            return
        check_images(config.model, state, state["size"], store)
        if not has_noise(store.provenance.get("request") or {}):
            context.say(f"warning: {store.path}: its images hold no noise, as those that were learned from do")
        probability = np.empty(store.n, dtype=np.float32)
        with context.progress("classifying", store.n, "galaxies") as progress:
            for first in range(0, store.n, CHUNK):
                context.check()
                images = torch.from_numpy(store.images(slice(first, first + CHUNK)))
                if not first and (words := network.noise_mismatch_warning(images, store.bands)):
                    context.say(f"warning: {store.path}: {words}")
                probability[first : first + CHUNK] = probabilities(network, state, images).numpy()
                progress.at(min(first + CHUNK, store.n))
        table = _table(store, probability, state, model_sha256, context.created)
    hdus = fits.HDUList([fits.PrimaryHDU(), table])
    hdus.update_extend()  # writing does so too, after the checksum
    hdus[0].add_checksum(when=context.created)
    with atomic_path(out) as temporary:
        hdus.writeto(temporary, checksum=False, output_verify="exception")
    called = int((probability >= state["threshold"]).sum())
    context.say(
        f"{out}: {len(probability):,} galaxies for '{state['target']}'; {called:,} at p >= {state['threshold']:.3f}, "
        f"{probability.sum(dtype=np.float64):,.0f} expected by the probabilities"
    )


def _found(path):
    """Return the file that is there, with the model and the store that it was made from where it says so."""
    if not path.exists():
        return None
    try:
        header = fits.getheader(path, "CLASSIFIED")
    except (OSError, KeyError):
        return Found(None)
    return Found({"model": header.get("MODELSHA"), "store": header.get("STORESHA")})


def _table(store, probability, state, model_sha256, created):
    """Binary table with id, probability, class and what the classifier has seen of each galaxy."""
    seen = np.full(store.n, TEST, dtype=np.int16)
    if not store.synthetic:  # whose ids are rows of a request
        seen[np.isin(store.ids, state["validated_on"].numpy())] = VALIDATION
        seen[np.isin(store.ids, state["learned_from"].numpy())] = TRAIN
    columns = {
        store.id_column: ("K", store.ids, "object id", "meta.id;meta.main"),
        "probability": (
            "E",
            probability,
            "of fulfilling TARGET, calibrated on validation galaxies",
            "stat.probability",
        ),
        "is_target": ("L", probability >= state["threshold"], "probability >= THRESH", "meta.code.class"),
        "split": ("I", seen, "0 learned from 1 validated on 2 never seen: clean score", "meta.code"),
    }
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name, kind, array=values) for name, (kind, values, _, _) in columns.items()], name="CLASSIFIED"
    )
    for k, (_, _, comment, ucd) in enumerate(columns.values(), 1):
        table.header[f"TCOMM{k}"] = comment
        table.header[f"TUCD{k}"] = ucd
    cards = [
        ("TARGET", ascii_text(state["target"]), "condition that the probability is for"),
        ("THRESH", state["threshold"], "least probability of is_target"),
        ("THRRULE", ascii_text(state["rule"]), "how THRESH was chosen"),
        ("TEMPER", state["temperature"], "temperature that calibrates the logits"),
        ("PRESET", state["preset"], "network"),
        ("STORE", ascii_text(os.path.basename(store.path)), "store that was classified"),
        ("STORESHA", store.fingerprint, "fingerprint of the store"),
        ("MODELSHA", model_sha256, "SHA-256 of the classifier"),
        ("CREATOR", f"galaxycgan {__version__}", "software"),
        ("DATE", created.rstrip("Z"), "time of the request (UTC)"),
    ]
    add_cards(table.header, cards)
    table.add_checksum(when=created)
    return table
