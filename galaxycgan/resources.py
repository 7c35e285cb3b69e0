"""Where recipes, pipelines, profiles and GANs lie: a path, a name in the current directory, a name in the package."""

from pathlib import Path

from galaxycgan.errors import UserError

#: kind -> (folder in a checkout and in the current directory, option that names it)
KINDS = {
    "recipe": (Path("catalogs"), "--recipe"),
    "profile": (Path("slurm/profiles"), "--profile"),
    "pipeline": (Path("slurm/pipelines"), "--recipe"),
}

_PACKAGE = Path(__file__).resolve().parent


#: What --gan calls the generator that comes with the package, and where it is.
PRETRAINED = "pretrained"
PRETRAINED_FOLDER = _PACKAGE / "models" / PRETRAINED


def gan_directory(text):
    """Return the directory of a trained GAN: a run directory, or the package's own for ``pretrained``."""
    return PRETRAINED_FOLDER if str(text) == PRETRAINED else Path(text)


def shipped_folder(kind):
    """Return the folder of the package's own copies: an install fills it; in a checkout it is the original."""
    installed = _PACKAGE / "shipped" / KINDS[kind][0]
    return installed if installed.is_dir() else _PACKAGE.parent / KINDS[kind][0]


def find(kind, text):
    """Return the path of a recipe, a pipeline or a cluster profile.

    Parameters
    ----------
    kind : {'recipe', 'profile', 'pipeline'}
    text : str
        A path, or a name: ``demo`` is ``catalogs/demo.toml`` of the current directory, else the package's copy.

    Raises
    ------
    UserError
        Where nothing is found; the message lists the names that there are.
    """
    folder, option = KINDS[kind]
    path = Path(text)
    if path.is_file():
        return path
    if not text or path.suffix == ".toml" or len(path.parts) > 1:
        raise UserError(f"{text or '(empty)'}: no such {kind} file ({option}); {_known(kind)}")
    for place in (folder, shipped_folder(kind)):
        if (found := place / f"{text}.toml").is_file():
            return found
    raise UserError(f"{option} {text}: no {kind} of that name in {folder}/; {_known(kind)}")


def _known(kind):
    names = {path.stem for place in (KINDS[kind][0], shipped_folder(kind)) for path in place.glob("*.toml")}
    return f"known names: {', '.join(sorted(names)) or 'none'}"
