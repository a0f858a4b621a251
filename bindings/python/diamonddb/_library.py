"""Finds the shared library and loads it: the one that DIAMOND_LIB names, else the one inside this package."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

ABI_VERSION = 1
"""The DIAMOND_ABI_VERSION of the header that _native.py mirrors."""


def find_library() -> Path:
    """The path of the library to load. ImportError, with what to do, where there is none."""
    named = os.environ.get("DIAMOND_LIB")
    path = Path(named) if named else Path(__file__).with_name("libdiamonddb.so")
    if path.is_file():
        return path
    if named:
        raise ImportError(f"DIAMOND_LIB names {path}, and there is no such file; set it to that of libdiamonddb.so.")
    raise ImportError(
        f"The package has no library at {path}. Install it again by `pip install bindings/python`, "
        "or set DIAMOND_LIB to the path of libdiamonddb.so."
    )


def load_library() -> ctypes.CDLL:
    """Loads the library, and refuses one of another interface than this package was written for."""
    path = find_library()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"The library {path} cannot be loaded: {error}.") from error
    try:
        version = int(library.diamond_abi_version())
    except AttributeError:
        raise ImportError(f"{path} is not a DiamondDB library: it has no diamond_abi_version.") from None
    if version != ABI_VERSION:
        raise ImportError(
            f"The library {path} has version {version} of the C interface, and this package is written for version "
            f"{ABI_VERSION}. Install package and library of the same release."
        )
    return library
