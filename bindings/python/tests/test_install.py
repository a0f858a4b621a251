"""Wheels and sdists: what `pip install` makes of this folder, in the repository and far from it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import diamonddb
from conftest import BINDING, LIMIT

REPOSITORY = BINDING.parent.parent
LIBRARY = Path(diamonddb.__file__).with_name("libdiamonddb.so")
BUILD = "import setuptools.build_meta as backend, sys; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


def environment(**changes):
    kept = {name: value for name, value in os.environ.items()
            if name not in ("DIAMOND_LIB", "CARGO", "CARGO_TARGET_DIR", "PYTHONPATH")}
    return {**kept, **changes}


@pytest.fixture
def copy(tmp_path):
    """The repository, as far as a build of this package sees it."""
    root = tmp_path / "repository"
    ignored = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "*.so", "tests")
    shutil.copytree(BINDING, root / "bindings" / "python", ignore=ignored)
    for name in ("Cargo.toml", "Cargo.lock", "build.rs", "LICENSE"):
        shutil.copy2(REPOSITORY / name, root / name)
    for name in ("src", "include"):
        shutil.copytree(REPOSITORY / name, root / name)
    return root / "bindings" / "python"


@pytest.fixture
def cargo(tmp_path):
    """A stand-in for cargo, which brings the library where the real one would build it, and notes how it was called."""
    program = tmp_path / "cargo"
    program.write_text(f"""#!/bin/sh
echo "$PWD $*" > {tmp_path}/called
while [ "$1" != --target-dir ]; do shift; done
mkdir -p "$2/release" && cp {LIBRARY} "$2/release/libdiamonddb.so"
""")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def build(folder, kind, into, **changes):
    """Calls the build backend as pip does, without fetching anything."""
    into.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", BUILD, kind, str(into)], cwd=folder, env=environment(**changes),
                          capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    return into / done.stdout.splitlines()[-1]


def installed_works(wheel, folder):
    """Installs the wheel into a new virtual environment, and uses it from an empty folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", wheel],
                   check=True, env=environment(), timeout=LIMIT)
    empty = folder / "empty"
    empty.mkdir()
    program = (
        "import diamonddb\n"
        "with diamonddb.open('db') as db:\n"
        "    table = db.table('people', {'name': ['string', 15]})\n"
        "    print(table[table.save({'name': 'Abby'})], diamonddb.__file__)\n"
    )
    done = subprocess.run([python, "-c", program], cwd=empty, env=environment(), capture_output=True, text=True,
                          timeout=LIMIT, check=True)
    assert done.stdout.startswith("{'name': 'Abby'} " + str(folder / "venv"))


def test_a_wheel_is_for_any_python_3_on_one_platform_and_works_alone(copy, tmp_path):
    wheel = build(copy, "build_wheel", tmp_path / "dist", DIAMOND_LIB=str(LIBRARY))
    assert wheel.name.startswith("diamonddb-0.1.0-py3-none-linux_")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {"diamonddb/libdiamonddb.so", "diamonddb/py.typed", "diamonddb/_native.py"} <= names
        assert b"Root-Is-Purelib: false" in archive.read("diamonddb-0.1.0.dist-info/WHEEL")
    shutil.rmtree(copy.parent.parent)
    installed_works(wheel, tmp_path)


def test_an_sdist_carries_the_crate_and_makes_a_wheel_far_from_the_repository(copy, tmp_path, cargo):
    archive = build(copy, "build_sdist", tmp_path / "dist")
    shutil.rmtree(copy.parent.parent)
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "far")
    folder = tmp_path / "far" / "diamonddb-0.1.0"
    for name in ("Cargo.toml", "Cargo.lock", "build.rs", "src/lib.rs", "include/diamonddb.h", "LICENSE"):
        assert (folder / "crate" / name).is_file(), name
    wheel = build(folder, "build_wheel", tmp_path / "dist", CARGO=str(cargo))
    assert (tmp_path / "called").read_text().startswith(f"{folder}/crate rustc --release --locked --lib")
    installed_works(wheel, tmp_path)


def test_the_repositorys_library_is_taken_while_it_is_newer_than_its_sources(copy, tmp_path, cargo):
    release = copy.parent.parent / "target" / "release"
    release.mkdir(parents=True)
    shutil.copyfile(LIBRARY, release / "libdiamonddb.so")
    build(copy, "build_wheel", tmp_path / "dist", CARGO=str(cargo))
    assert not (tmp_path / "called").exists()
    os.utime(release / "libdiamonddb.so", (1, 1))
    build(copy, "build_wheel", tmp_path / "dist", CARGO=str(cargo))
    assert (tmp_path / "called").exists()


@pytest.mark.parametrize("changes, sentence", [
    ({"DIAMOND_LIB": "/nowhere.so"}, "DIAMOND_LIB names /nowhere.so, and there is no such file"),
    ({"PATH": "/nowhere", "HOME": "/nowhere"}, "cargo is missing. Get it from https://rust-lang.org/tools/install"),
])
def test_what_is_missing_for_a_wheel_is_named(copy, tmp_path, changes, sentence):
    command = [sys.executable, "-c", BUILD, "build_wheel", str(tmp_path)]
    done = subprocess.run(command, cwd=copy, env=environment(**changes), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode != 0
    assert sentence in done.stderr
