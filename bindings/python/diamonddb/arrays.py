"""numpy structured arrays as records. Only imported where the caller has numpy."""

from __future__ import annotations

from typing import Any

import numpy

from .errors import InvalidError
from .layout import Layout


def conform(records: Any, layout: Layout, table: str) -> "numpy.ndarray[Any, Any]":
    """The array itself where its fields lie as those of the layout, else a copy in which they do.

    InvalidError: it is no structured array of one dimension, or a field is missing, unknown, or would lose something.
    """
    array: "numpy.ndarray[Any, Any]" = numpy.asarray(records)
    wanted = layout.dtype()
    if array.ndim != 1 or array.dtype.names is None:
        raise InvalidError(f"Records of table {table} come as a structured array of one dimension: {wanted}.")
    odd = set(array.dtype.names) ^ set(layout.names)
    if odd:
        raise InvalidError(f"The array and table {table} differ in their fields: {', '.join(sorted(odd))}.")
    if _lies_as(array, layout, wanted):
        return array
    copy = numpy.zeros(len(array), wanted)
    for field in layout.fields:
        given, needed = array.dtype[field.name], wanted[field.name]
        if not numpy.can_cast(given, needed, "safe"):
            raise InvalidError(
                f"Field {field.name} of table {table} is {needed}, and {given} does not go into that without loss; "
                f'convert it, for instance by astype("{needed}").'
            )
        copy[field.name] = array[field.name]
    return copy


def _lies_as(array: "numpy.ndarray[Any, Any]", layout: Layout, wanted: "numpy.dtype[Any]") -> bool:
    if array.strides[0] < layout.record_size or array.dtype.fields is None or wanted.fields is None:
        return False
    return all(array.dtype.fields[name][:2] == wanted.fields[name][:2] for name in layout.names)
