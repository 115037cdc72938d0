"""The packages of each server, in a directory of its own, exactly as pinned."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
INSTALLED = ROOT / ".venv-conformance"


def directory(name):
    return INSTALLED / name


def install(names):
    """Installs what is not there yet, a few at a time. Fails with what pip said."""
    INSTALLED.mkdir(exist_ok=True)
    with ThreadPoolExecutor(max_workers=4) as pool:
        for failure in pool.map(install_one, sorted(names)):
            if failure:
                sys.exit(f"conformance: {failure}")


def install_one(name):
    requirements = HERE / "requirements" / f"{name}.txt"
    target, stamp = directory(name), INSTALLED / f"{name}.stamp"
    wanted = f"{sys.version}\n{requirements.read_text()}"
    if stamp.is_file() and stamp.read_text() == wanted and target.is_dir():
        return None
    stamp.unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    # Hashes are in the file, so pip takes these very archives or none. No other setting may send them elsewhere.
    others = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX")
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
         "--no-compile", "--require-hashes", "--target", target, "--requirement", requirements],
        env={key: value for key, value in os.environ.items() if key not in others},
        capture_output=True,
        text=True,
    )
    if pip.returncode != 0:
        return f"could not install requirements/{name}.txt. Is there a network?\n{pip.stderr[-2000:]}"
    stamp.write_text(wanted)
    return None


def version(name, distribution):
    """The version that a requirements file pins."""
    for line in (HERE / "requirements" / f"{name}.txt").read_text().splitlines():
        pinned, _, rest = line.partition("==")
        if pinned == distribution:
            return rest.split()[0]
    raise LookupError(f"requirements/{name}.txt does not pin {distribution}")
