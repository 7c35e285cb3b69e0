"""Whether the images of a synthetic catalog hold noise."""


def has_noise(request):
    """Tell whether a catalog's `images` hold noise, of the request in its provenance; galaxies alone are images too."""
    return (request.get("recipe") or {}).get("noise") != "none" and request.get("images") != "noiseless"
