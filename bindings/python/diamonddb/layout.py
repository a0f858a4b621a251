"""Schemas and layouts: what a record holds, and where in its bytes.

A schema is a dict as diamond_table_make takes it, its keys the fields in their order:

    {"name": ["string", 15, "required"], "age": ["number", 3], "seen": ["timestamp"]}

or a dataclass whose annotations say the same:

    @dataclass
    class Person:
        name: Annotated[str, "string", 15]
        age: Annotated[Optional[float], "number", 3] = None
        seen: Annotated[Optional[datetime], "timestamp"] = None

A field that is not Optional is required.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type, Union, get_type_hints

from .errors import InvalidError

if TYPE_CHECKING:
    import numpy

Schema = Mapping[str, Sequence[Union[str, int]]]
"""A schema as a dict: of each field, in order, its type, its width if it has one, and its options."""

_STRUCT_CODES = {
    "number": "d", "i8": "b", "i16": "h", "i32": "i", "i64": "q", "u8": "B", "u16": "H", "u32": "I", "u64": "Q",
    "f32": "f", "f64": "d", "bool": "?", "timestamp": "q",
}
_NUMPY_FORMATS = {
    "number": "<f8", "i8": "<i1", "i16": "<i2", "i32": "<i4", "i64": "<i8", "u8": "<u1", "u16": "<u2", "u32": "<u4",
    "u64": "<u8", "f32": "<f4", "f64": "<f8", "bool": "?", "timestamp": "<M8[us]",
}


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a record: offset and size in bytes; width is the schema's number, None for types without one."""

    index: int
    name: str
    type: str
    offset: int
    size: int
    width: Optional[int]
    characters: bool
    required: bool

    @property
    def struct_code(self) -> str:
        """The field in a format of the struct module."""
        return _STRUCT_CODES.get(self.type) or f"{self.size}s"

    @property
    def numpy_format(self) -> str:
        """The field as a numpy type: text as S, bytes as V, timestamps as datetime64[us]."""
        return _NUMPY_FORMATS.get(self.type) or f"{'V' if self.type == 'bytes' else 'S'}{self.size}"


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where everything in a packed record lies, in bytes. It is the C struct of the schema."""

    record_size: int
    alignment: int
    nulls_size: int
    fields: Tuple[Field, ...]

    @staticmethod
    def parse(text: str) -> "Layout":
        """The layout from the JSON of diamond_table_layout."""
        layout = json.loads(text)
        fields = tuple(
            Field(index, field["name"], field["type"], field["offset"], field["size"], field.get("width"),
                  field.get("characters", False), field.get("required", False))
            for index, field in enumerate(layout["fields"])
        )
        return Layout(layout["record_size"], layout["alignment"], layout["nulls_size"], fields)

    @property
    def names(self) -> Tuple[str, ...]:
        """The names of the fields, in order."""
        return tuple(field.name for field in self.fields)

    def field(self, name: str) -> Field:
        """The field of that name. KeyError: there is none; the message lists those there are."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"there is no field {name!r}; the fields are {', '.join(self.names)}")

    @property
    def struct_format(self) -> str:
        """A record as a format of the struct module, one item a field."""
        parts, end = ["<"], 0
        for field in self.fields:
            parts.append(f"{field.offset - end}x{field.struct_code}")
            end = field.offset + field.size
        parts.append(f"{self.record_size - end}x")
        return "".join(parts)

    def dtype(self, stride: Optional[int] = None) -> "numpy.dtype[Any]":
        """A record as a numpy dtype, `stride` bytes from one to the next. Needs numpy."""
        import numpy

        return numpy.dtype({
            "names": list(self.names),
            "formats": [field.numpy_format for field in self.fields],
            "offsets": [field.offset for field in self.fields],
            "itemsize": stride or self.record_size,
        })


def schema_text(schema: Union[str, Schema, Type[Any]]) -> bytes:
    """A schema as the JSON that the library takes."""
    if isinstance(schema, str):
        return schema.encode()
    if isinstance(schema, type):
        schema = schema_of(schema)
    return json.dumps({name: list(field) for name, field in schema.items()}).encode()


def schema_of(kind: Type[Any]) -> Dict[str, List[Union[str, int]]]:
    """The schema that the annotations of a dataclass state."""
    if not dataclasses.is_dataclass(kind):
        raise InvalidError(f"{kind.__name__} is not a dataclass: decorate it with @dataclass, or give a dict.")
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: _field_schema(kind, field.name, hints[field.name]) for field in dataclasses.fields(kind)}


def _field_schema(kind: Type[Any], name: str, hint: Any) -> List[Union[str, int]]:
    elements = list(getattr(hint, "__metadata__", ()))
    if not elements or not isinstance(elements[0], str):
        raise InvalidError(
            f"The field {name} of {kind.__name__} does not say how it is stored. Annotate it with the elements of its "
            'schema, for instance Annotated[str, "string", 15] or Annotated[int, "u32"].'
        )
    if not is_optional(hint.__origin__) and "required" not in elements:
        elements.append("required")
    return elements


def is_optional(hint: Any) -> bool:
    """Whether None is among the types of an annotation."""
    return type(None) in getattr(hint, "__args__", ())


def wants_integer(hint: Any) -> bool:
    """Whether an annotated timestamp is to be an integer, and not a datetime."""
    inner = hint.__origin__ if hasattr(hint, "__metadata__") else hint
    return inner is int or (is_optional(inner) and int in inner.__args__)
