"""Builds what would be released and tries it where nothing else is installed: `make release-check`.

The source distribution and the wheel are built, then each environment of `ENVIRONMENTS` gets one of them and runs the
smoke test that fits what it has. With names as arguments only those environments are made.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

SMOKE = {
    "core": """
import sys, mobilebert
from mobilebert_core import DEMO_MODEL, HEADS, AutoTokenizer, MobileBertConfig, weight_table
from mobilebert.cli import main
assert AutoTokenizer.from_pretrained(DEMO_MODEL)("I love this!")["input_ids"]
assert len(weight_table(MobileBertConfig(), HEADS["PreTraining"])) > 1000
assert main(["inspect", str(DEMO_MODEL)]) == 0
assert not {"torch", "tensorflow", "keras"} & set(sys.modules)
""",
    "torch": """
import sys, mobilebert
from mobilebert.cli import main
assert mobilebert.pipeline("text-classification", top_k=1)("I love this!")["label"] == "love"
assert main(["convert", str(mobilebert.DEMO_MODEL), "converted"]) == 0
assert "tensorflow" not in sys.modules
""",
    "tf": """
import sys, mobilebert
assert mobilebert.pipeline("text-classification", backend="keras", top_k=1)("I love this!")["label"] == "love"
assert "torch" not in sys.modules
""",
    "missing": """
import mobilebert
from mobilebert_core.errors import BackendMissingError
try:
    mobilebert.pipeline("text-classification")
except BackendMissingError as e:
    assert "pip install 'mobilebert[torch]'" in str(e), e
else:
    raise SystemExit("a backend that is not installed gave no error")
""",
}


@dataclass(frozen=True)
class Environment:
    """Where a release is tried.

    Attributes:
        name: of the environment.
        archive: "wheel" or "sdist", what is installed.
        extras: of the distribution.
        smoke: what is run, names of `SMOKE`.
        versions: "oldest" that the metadata allows of dependencies and extras, "newest" that exist, or "pinned" by
            constraints.txt.
    """

    name: str
    archive: str
    extras: str
    smoke: tuple[str, ...]
    versions: str = "pinned"


ENVIRONMENTS = (
    Environment("bare", "wheel", "", ("core", "missing")),
    Environment("bare-sdist", "sdist", "", ("core", "missing")),
    Environment("oldest", "wheel", "", ("core", "missing"), "oldest"),
    Environment("newest", "wheel", "", ("core", "missing"), "newest"),
    Environment("torch", "wheel", "torch", ("core", "torch")),
    Environment("tf", "wheel", "tf", ("core", "tf")),
    Environment("oldest-tf", "wheel", "tf", ("core", "tf"), "oldest"),
)


OLD_WHEELS_BEFORE = (3, 13)  # the first Python for which numpy 1.26 and TensorFlow 2.18 have none


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Runs a command and ends the check where it fails."""
    if subprocess.run([str(word) for word in command], cwd=cwd).returncode:
        raise SystemExit(f"failed: {' '.join(str(word) for word in command)}")


def oldest(requirements: list[str]) -> list[str]:
    """`numpy>=1.26; marker` -> `numpy==1.26.*`, for a file of constraints."""
    found = [re.fullmatch(r"([\w.-]+)>=([\d.]+)(\s*;.*)?", requirement) for requirement in requirements]
    return [f"{match[1]}=={match[2]}.*" for match in found if match]


def constraints(environment: Environment, folder: Path) -> list[str]:
    """The options by which pip gets versions."""
    if environment.versions == "newest":
        return ["--upgrade"]
    if environment.versions == "pinned":
        return ["--constraint", str(ROOT / "constraints.txt")]
    path = folder / "oldest.txt"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = project["optional-dependencies"].get(environment.extras, [])
    path.write_text("\n".join(oldest([*project["dependencies"], *extra])) + "\n")
    return ["--constraint", str(path)]


def built(folder: Path, python: Path) -> dict[str, Path]:
    """The archives, from a clean copy of what git has."""
    copy = folder / "source"
    run("git", "clone", "--quiet", ROOT, copy)
    run(python, "-m", "pip", "install", "--quiet", "build")
    run(python, "-m", "build", "--outdir", folder / "dist", copy)
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def check_contents(archives: dict[str, Path]) -> None:
    """A release holds every package with its data, and neither tests nor scripts on its top level."""
    names = zipfile.ZipFile(archives["wheel"]).namelist()
    top = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    packages = {"conversion", "mobilebert", "mobilebert_core", "mobilebert_tf", "mobilebert_torch"}
    if top != packages:
        raise SystemExit(f"the wheel holds {sorted(top)}, wanted {sorted(packages)}")
    source = {str(path.relative_to(ROOT)) for package in packages for path in (ROOT / package).rglob("*.py")}
    with tarfile.open(archives["sdist"]) as file:
        packed = {name.partition("/")[2] for name in file.getnames()}
    for archive, held in (("wheel", set(names)), ("source distribution", packed)):
        if missing := source - held:
            raise SystemExit(f"the {archive} lacks {sorted(missing)[:5]}")


def check(environment: Environment, archive: Path, folder: Path) -> None:
    """Installs one archive and runs its smoke tests in an empty directory."""
    home = folder / environment.name
    venv.create(home / "venv", with_pip=True)
    python = home / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    what = f"mobilebert[{environment.extras}] @ {archive.as_uri()}" if environment.extras else str(archive)
    run(python, "-m", "pip", "install", "--quiet", *constraints(environment, home), what)
    for smoke in environment.smoke:
        run(python, "-W", "ignore", "-c", SMOKE[smoke], cwd=home)
    print(f"{environment.name}: good", flush=True)
    shutil.rmtree(home)


def main(names: list[str]) -> None:
    unknown = set(names) - {environment.name for environment in ENVIRONMENTS}
    if unknown:
        raise SystemExit(f"no environment {sorted(unknown)}; there are {[e.name for e in ENVIRONMENTS]}")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        venv.create(folder / "builder", with_pip=True)
        binaries = "Scripts" if sys.platform == "win32" else "bin"
        archives = built(folder, folder / "builder" / binaries / "python")
        check_contents(archives)
        for environment in ENVIRONMENTS:
            if environment.versions == "oldest" and sys.version_info >= OLD_WHEELS_BEFORE:
                print(f"{environment.name}: not tried, there are no wheels for this Python", flush=True)
            elif not names or environment.name in names:
                check(environment, archives[environment.archive], folder)


if __name__ == "__main__":
    main(sys.argv[1:])
