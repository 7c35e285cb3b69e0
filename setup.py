"""Package metadata. The version lives in galaxycgan/__init__.py."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "galaxycgan/__init__.py").read_text())[1]

#: Found by name after an install, without a checkout (galaxycgan/resources.py).
SHIPPED = [
    path
    for folder in ("catalogs", "slurm/profiles", "slurm/pipelines")
    for path in sorted((HERE / folder).glob("*.toml"))
]


class BuildWithRecipes(build_py):
    """Copies the recipes and the cluster profiles into the package; an editable install reads the checkout's own."""

    def run(self):
        super().run()
        for source, target in self._shipped():
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + [str(target) for _, target in self._shipped()]

    def _shipped(self):
        folder = Path(self.build_lib) / "galaxycgan/shipped"
        return [] if self.editable_mode else [(path, folder / path.relative_to(HERE)) for path in SHIPPED]


extras = {
    "mock": ["galsim>=2.5"],
    "parquet": ["pyarrow>=14.0.1"],
    "plots": ["matplotlib>=3.8", "scikit-learn>=1.4", "photutils>=2.0", "statmorph>=0.7,<0.8"],
    "test": ["pytest>=8", "pytest-xdist>=3.5", "fitsio>=1.2", "ruff", "sep>=1.2"],
}
extras["all"] = sorted({name for names in extras.values() for name in names})

setup(
    name="galaxycgan",
    version=VERSION,
    description="Conditional GANs for galaxy images: survey files to synthetic catalogs, on HPC clusters",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    python_requires=">=3.11",
    packages=find_packages(include=["galaxycgan", "galaxycgan.*"]),
    package_data={
        "galaxycgan.evaluation.reports": ["templates/*"],
        "galaxycgan.models": ["pretrained/*", "*.md"], "galaxycgan.training": ["*.md"]},
    cmdclass={"build_py": BuildWithRecipes},
    install_requires=[
        "numpy>=1.26", "pandas>=2.1", "torch>=2.4", "astropy>=6.0", "h5py>=3.10", "submitit>=1.5.4", "scipy>=1.11",
        "safetensors>=0.4", "rich>=13", "threadpoolctl>=3.1", "jinja2>=3.1",
    ],
    extras_require=extras,
    entry_points={"console_scripts": ["galaxycgan = galaxycgan.cli:main"]},
)  # fmt: skip
