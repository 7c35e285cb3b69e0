"""Change one line of the package and see that a test fails: a check of the tests, not of the package.

`python tests/mutations.py` tries all changes, `python tests/mutations.py NAME ...` some; the exit code is the number
of those that no test noticed. Each change is applied to a copy of the files that git tracks, in a temporary directory,
and the test that must fail is run there.

mutmut and cosmic-ray change every operator of every line and would run this suite, which trains networks, thousands of
times; here a few lines that decide whether a catalog or a score is right are named, each with the one test that is
responsible for it, so that all of them take minutes.

To add a change: append it to `CHANGES` and run it by its name. `tests/test_mutations.py` checks that every entry still
fits the code.
"""

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Tests that take longer than this many seconds are stopped: a change may make a loop endless.
LONGEST_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Change:
    """One change of the code.

    Attributes
    ----------
    name : str
        What is wrong after it.
    file : str
        Of the package, below `galaxycgan/`.
    old, new : str
        Text in the file, which occurs once, and what replaces it.
    test : str
        The test that must fail: ``file.py::test_name`` below `tests/`; all parameters of the test are run.
    """

    name: str
    file: str
    old: str
    new: str
    test: str

    @property
    def path(self):
        """Path of the file below the root of the repository."""
        return Path("galaxycgan", self.file)

    def changed(self, text):
        """Return the text of the file with the change.

        Raises
        ------
        ValueError
            Where the old text does not occur exactly once.
        """
        if (times := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: {self.old!r} occurs {times} times in {self.path}; mend the entry")
        return text.replace(self.old, self.new)


CHANGES = [
    # Random numbers: each galaxy its own.
    Change(
        "every block repeats the latents and the noise of the first",
        "models/painter.py",
        "normals(seed, stream, first, BLOCK, int(np.prod(shape)))",
        "normals(seed, stream, 0, BLOCK, int(np.prod(shape)))",
        "models/test_painter.py::test_each_galaxy_of_each_block_has_latents_and_noise_of_its_own",
    ),
    # Training.
    Change(
        "the gradient penalty is never taken",
        "training/adversarial.py",
        "return turn % PENALTY_EVERY == 0, columns",
        "return False, columns",
        "training/test_step.py::test_every_fourth_step_takes_the_gradient_penalty",
    ),
    Change(
        "the gradient penalty is reported but not minimised",
        "training/gan_losses.py",
        "loss = loss + PENALTY_EVERY / 2 * gamma",
        "loss = loss + 0 * PENALTY_EVERY / 2 * gamma",
        "training/test_step.py::test_the_penalty_is_a_part_of_what_the_critics_minimise",
    ),
    Change(
        "the learning rate never falls",
        "training/adversarial.py",
        "return min(1.0, max(0.05, (1 - progress) * 3))",
        "return 1.0",
        "training/test_step.py::test_the_learning_rate_falls_over_the_last_third",
    ),
    Change(
        "training images are never flipped nor turned",
        "training/adversarial.py",
        "real = dihedral(flux, symmetry(self.settings.seed, self.images)).contiguous()",
        "real = flux.contiguous()",
        "training/test_step.py::test_networks_see_each_batch_flipped_and_turned_in_its_own_way",
    ),
]


def copy_tree(where):
    """Copy the files that git tracks, as they are now."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in names.decode().split("\0"):
        if (ROOT / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, where / name)


def run_tests(root, *tests):
    """Run tests of a copy; return pytest's exit code (0: passed, 1: failed) and what it said.

    A test that takes too long has failed.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *(f"tests/{each}" for each in tests),
    ]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return 1, "took too long"
    return done.returncode, done.stdout + done.stderr


def attempt(change, root):
    """Apply a change to a copy of the tree, run its test, undo the change; return 'caught', 'survived' or a trouble."""
    path = root / change.path
    text = path.read_text()
    path.write_text(change.changed(text))
    try:
        code, said = run_tests(root, change.test)
    finally:
        path.write_text(text)
    # Other codes: the test is not there, or pytest could not start.
    return {0: "survived", 1: "caught"}.get(code, f"no verdict:\n{said}")


def main(names):
    """Try the changes of these names, all where there are none; return how many were not caught."""
    unknown = set(names) - {change.name for change in CHANGES}
    if unknown:
        sys.exit(f"no change is named {', '.join(sorted(unknown))}; there are:\n" + "\n".join(c.name for c in CHANGES))
    missed = 0
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        copy_tree(root)
        for change in CHANGES:
            if not names or change.name in names:
                start = time.monotonic()
                verdict = attempt(change, root)
                missed += verdict != "caught"
                print(f"{verdict:<9} {time.monotonic() - start:4.0f} s  {change.name}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
