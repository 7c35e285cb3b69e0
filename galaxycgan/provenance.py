"""Where a file came from: versions, git revision, time of the request. Travels in every file that is written."""

import datetime
import functools
import os
import subprocess
from pathlib import Path

from galaxycgan import __version__


def created_now():
    """Return the time of the request as ISO 8601 UTC; SOURCE_DATE_EPOCH fixes it for reproducible files."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC) if epoch else datetime.datetime.now(datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@functools.cache
def git_revision():
    """Return the git SHA of the source tree, with '+changes' where it is not clean; 'unknown' outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return "unknown"

    def git(*words):
        return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def tool_stamp():
    """Return what made a file: package version and git revision."""
    return {"galaxycgan": __version__, "git": git_revision()}
