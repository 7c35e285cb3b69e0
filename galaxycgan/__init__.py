"""galaxycgan: conditional GANs for galaxy images, from survey files to synthetic catalogs, on HPC clusters."""

import os

__version__ = "0.1.0"

# Torch's threads wait for each other thousands of times a second. By default they spin for long before they sleep; with
# another program on one of the cores, that keeps the thread which they wait for from running.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
