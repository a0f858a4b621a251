"""Puts the shared library into the wheel. All else is in pyproject.toml.

The library is the one that DIAMOND_LIB names, or that of the crate: of the repository around this folder, or of the
copy of it that an sdist carries in `crate`. Of the crate, target/release/libdiamonddb.so is taken if it is newer than
every source, and else built by cargo.
"""

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
NAME = "libdiamonddb.so"
# What cargo needs to build the library, and the licence that it is under.
CRATE_FILES = ["Cargo.toml", "Cargo.lock", "build.rs", "LICENSE", "include", "src"]


def find_crate():
    """The folder of the crate, or None."""
    for folder in (HERE / "crate", HERE.parent.parent):
        if (folder / "Cargo.toml").is_file() and (folder / "src" / "ffi").is_dir():
            return folder
    return None


def find_library():
    """The library to put into the wheel: found, or built."""
    named = os.environ.get("DIAMOND_LIB")
    if named:
        if not Path(named).is_file():
            raise SystemExit(f"DIAMOND_LIB names {named}, and there is no such file.")
        return Path(named)
    crate = find_crate()
    if crate is None:
        raise SystemExit(f"There is no crate around {HERE}. Set DIAMOND_LIB to the path of {NAME}.")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or crate / "target")
    library = target / "release" / NAME
    if not is_fresh(library, crate):
        build(crate, target)
    return library


def is_fresh(library, crate):
    """Whether the library is newer than what it is made of."""
    if not library.is_file():
        return False
    sources = [crate / "Cargo.toml", crate / "Cargo.lock", crate / "build.rs", *(crate / "src").rglob("*.rs")]
    return library.stat().st_mtime >= max(source.stat().st_mtime for source in sources)


def build(crate, target):
    """One crate type: rustc drops link-time optimisation where it makes several."""
    cargo = os.environ.get("CARGO") or shutil.which("cargo") or shutil.which("cargo", path=Path.home() / ".cargo/bin")
    if cargo is None:
        raise SystemExit(
            f"{NAME} is to be built, and cargo is missing. Get it from https://rust-lang.org/tools/install, "
            f"or set DIAMOND_LIB to the path of {NAME}."
        )
    command = [cargo, "rustc", "--release", "--locked", "--lib", "--crate-type", "cdylib", "--target-dir", str(target)]
    subprocess.run(command, cwd=crate, check=True)


class BuildWithLibrary(build_py):
    """Copies the library beside the modules, without what only debuggers need."""

    def run(self):
        super().run()
        folder = HERE / "diamonddb" if self.editable_mode else Path(self.build_lib) / "diamonddb"
        library = folder / NAME
        shutil.copyfile(find_library(), library)
        strip = shutil.which("strip")
        if strip:
            subprocess.run([strip, "--strip-unneeded", str(library)], check=True)


class WheelOfPlatform(bdist_wheel):
    """Any Python 3, one platform: ctypes needs no interface of a certain Python."""

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


class SourceWithCrate(sdist):
    """Carries the crate along, so that a wheel can be made far from the repository."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        crate, copy = find_crate(), Path(base_dir) / "crate"
        if crate is None:
            raise SystemExit(f"There is no crate around {HERE} to put into the sdist.")
        for name in CRATE_FILES:
            source = crate / name
            copy.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy / name, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, copy / name)


class DistributionOfPlatform(Distribution):
    """Says that there is something of the platform inside, though no extension module."""

    def has_ext_modules(self):
        return True


setup(
    distclass=DistributionOfPlatform,
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": WheelOfPlatform, "sdist": SourceWithCrate},
)
