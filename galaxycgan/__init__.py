"""galaxycgan: conditional GANs for galaxy images, from survey files to synthetic catalogs, on HPC clusters."""

__version__ = "0.1.0"
