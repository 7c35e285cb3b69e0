"""Whether the images of a synthetic catalog hold noise."""


def has_noise(request):
    """Return whether a catalog's `images` hold noise, by the request in its provenance."""
    return (request.get("recipe") or {}).get("noise") != "none" and request.get("images") != "noiseless"
