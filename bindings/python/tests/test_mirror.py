"""_native.py says what include/diamonddb.h says, as the C compiler sees it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import diamonddb
from conftest import BINDING
from diamonddb import _library
from diamonddb import _native as native

c_ast = pytest.importorskip("pycparser.c_ast")
from pycparser import CParser  # noqa: E402

INCLUDE = BINDING.parent.parent / "include"
CC = os.environ.get("CC") or shutil.which("cc") or "cc"


@pytest.fixture(scope="module")
def header():
    return Header()


class Header:
    """The header's functions, structs and constants, from its text after the preprocessor."""

    def __init__(self):
        command = [CC, "-E", "-P", "-D__attribute__(x)=", "-D__extension__=", f"-I{INCLUDE}", "-include",
                   "diamonddb.h", "-x", "c", "/dev/null"]
        source = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        self.types, self.functions, self.structs, self.constants = {}, {}, {}, []
        for node in CParser().parse(source).ext:
            if isinstance(node, c_ast.Typedef):
                self.types[node.name] = node.type
            if isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
                self.functions[node.name] = node.type
            if isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.Enum):
                self.constants += [item.name for item in node.type.values.enumerators]
        for name, kind in self.types.items():
            inner = getattr(kind, "type", None)
            if name.startswith("diamond_") and isinstance(inner, c_ast.Struct) and inner.decls:
                self.structs[name] = {field.name: field.type for field in inner.decls}

    def is_pointer(self, kind):
        return isinstance(kind, (c_ast.PtrDecl, c_ast.ArrayDecl))

    def arguments(self, function):
        found = [argument.type for argument in function.args.params] if function.args else []
        return [] if len(found) == 1 and self.name_of(found[0]) == "void" else found

    def name_of(self, kind):
        """The C type as one writes it, for sizeof; "pointer" for any pointer."""
        if self.is_pointer(kind):
            return "pointer"
        return " ".join(kind.type.names) if isinstance(kind.type, c_ast.IdentifierType) else kind.type.name


def compile_and_run(folder, lines):
    """What a C program that includes the header prints."""
    source, program = folder / "probe.c", folder / "probe"
    body = "\n".join(lines)
    source.write_text(f'#include <diamonddb.h>\n#include <stdio.h>\nint main(void) {{\n{body}\nreturn 0; }}\n')
    subprocess.run([CC, "-std=c11", f"-I{INCLUDE}", "-o", program, source], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return dict(line.split(" ") for line in printed.splitlines())


def mirrored(kind):
    """The structs of _native.py."""
    return {name: value for name, value in vars(native).items()
            if name.startswith("diamond_") and isinstance(value, type) and issubclass(value, kind)}


def size_and_sign(kind):
    """Of an argument's type in ctypes: its size, and whether it is signed; pointers are pointers."""
    if kind is None:
        return "void"
    if kind in (ctypes.c_void_p, ctypes.c_char_p) or hasattr(kind, "contents") or hasattr(kind, "argtypes"):
        return "pointer"
    return f"{ctypes.sizeof(kind)}{'-' if kind(-1).value == -1 else '+'}"


def test_every_function_of_the_header_is_mirrored_and_no_other(header):
    mirror = {name for name, value in vars(native).items()
              if hasattr(value, "argtypes") and not isinstance(value, type)}
    assert mirror == set(header.functions)


def test_every_function_takes_and_gives_what_the_header_says(header, tmp_path):
    names = set()
    for function in header.functions.values():
        names.update(header.name_of(kind) for kind in [*header.arguments(function), function.type])
    names -= {"pointer", "void"}
    sizes = compile_and_run(tmp_path, [
        f'printf("{name} %zu%s\\n", sizeof({name}), ({name})-1 < 0 ? "-" : "+");' for name in sorted(names)
    ])
    sizes.update(pointer="pointer", void="void")
    for name, function in header.functions.items():
        wanted = [sizes[header.name_of(kind)] for kind in header.arguments(function)]
        mirror = getattr(native, name)
        assert [size_and_sign(kind) for kind in mirror.argtypes] == wanted, name
        assert size_and_sign(mirror.restype) == sizes[header.name_of(function.type)], name


def test_every_struct_has_the_size_and_the_offsets_that_the_compiler_gives_it(header, tmp_path):
    lines = []
    for name, fields in header.structs.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{field} %zu:%zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));'
                  for field in fields]
    wanted = compile_and_run(tmp_path, lines)
    found = {}
    for name, kind in mirrored(ctypes.Structure).items():
        found[name] = str(ctypes.sizeof(kind))
        found.update({f"{name}.{field[0]}": f"{getattr(kind, field[0]).offset}:{getattr(kind, field[0]).size}"
                      for field in kind._fields_})
    assert found == wanted
    assert len(header.structs) >= 10


def test_every_function_pointer_takes_as_many_arguments_as_the_header_says(header):
    seen = 0
    for name, fields in header.structs.items():
        mirror = dict(field[:2] for field in getattr(native, name)._fields_)
        for field, kind in fields.items():
            if header.is_pointer(kind) and isinstance(kind.type, c_ast.FuncDecl):
                assert len(mirror[field]._argtypes_) == len(header.arguments(kind.type)), f"{name}.{field}"
                seen += 1
    assert seen == 12


def test_every_constant_has_the_value_that_the_compiler_gives_it(header, tmp_path):
    names = [*header.constants, "DIAMOND_ABI_VERSION"]
    wanted = compile_and_run(tmp_path, [f'printf("{name} %lld\\n", (long long){name});' for name in names])
    found = {name: str(value) for name, value in vars(native).items() if name.startswith("DIAMOND_")}
    assert found == wanted


def test_every_status_has_its_exception(header):
    statuses = {name for name in header.constants if name.startswith("DIAMOND_STATUS_")} - {"DIAMOND_STATUS_OK"}
    assert {getattr(native, name) for name in statuses} == set(diamonddb.errors.ERRORS)
    for name in statuses:
        words = name[len("DIAMOND_STATUS_"):].split("_")
        kind = getattr(diamonddb, "".join(word.capitalize() for word in words) + "Error")
        assert kind.status == getattr(native, name)


def test_package_and_library_are_of_one_version(header, tmp_path):
    text = (INCLUDE / "diamonddb.h").read_text()
    assert f'#define DIAMOND_VERSION "{diamonddb.__version__}"' in text
    assert f'\nversion = "{diamonddb.__version__}"' in (BINDING / "pyproject.toml").read_text()


def stand_in(folder: Path, source: str) -> Path:
    """A library of another making."""
    (folder / "other.c").write_text(source)
    library = folder / "libother.so"
    subprocess.run([CC, "-shared", "-fPIC", "-o", library, folder / "other.c"], check=True)
    return library


@pytest.mark.parametrize("source, sentence", [
    ("int diamond_abi_version(void) { return 2; }", "has version 2 of the C interface"),
    ("int something_else(void) { return 2; }", "is not a DiamondDB library"),
])
def test_a_library_of_another_interface_is_refused_with_a_sentence(tmp_path, monkeypatch, source, sentence):
    monkeypatch.setenv("DIAMOND_LIB", str(stand_in(tmp_path, source)))
    with pytest.raises(ImportError, match=sentence):
        _library.load_library()


def test_a_library_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DIAMOND_LIB", str(tmp_path / "nowhere.so"))
    with pytest.raises(ImportError, match="nowhere.so, and there is no such file"):
        _library.load_library()
