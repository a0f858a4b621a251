"""One exception a status, each with the library's own sentence.

Where Python has a word of its own for what happened, the exception is one of that as well: a record that is not
there is a KeyError, a record that the schema refuses a ValueError. The class of a status, its hundreds, says what to
do about it: 1 the caller's fault, 2 an answer, 3 try again, 4 unknown outcome, 5 the disk, 6 memory, library, modules.
"""

from __future__ import annotations

import builtins
import threading
from typing import Any, ClassVar, Dict, Optional, Type

from . import _native as native


class DiamondError(Exception):
    """What a call of the library ended with. Its text is a sentence that names the table, field, id or file."""

    status: ClassVar[int] = -1
    """The DIAMOND_STATUS_... of this class."""

    # KeyError would show the sentence in quotation marks.
    __str__ = Exception.__str__


class MisuseError(DiamondError):
    """The call breaks a rule of the interface."""

    status = native.DIAMOND_STATUS_MISUSE


class ClosedError(DiamondError):
    """The database, table, batch, scan, snapshot or pin was closed."""

    status = native.DIAMOND_STATUS_CLOSED


class ForkedError(DiamondError):
    """This process is a fork of the one that opened the database."""

    status = native.DIAMOND_STATUS_FORKED


class WrongThreadError(DiamondError):
    """Called on another thread than the one that opened the database, to which its module is bound."""

    status = native.DIAMOND_STATUS_WRONG_THREAD


class InvalidError(DiamondError, ValueError):
    """A name, schema, record or option is not valid. Nothing changed."""

    status = native.DIAMOND_STATUS_INVALID


class UnsupportedError(DiamondError):
    """This database, or this version of the library, cannot do that."""

    status = native.DIAMOND_STATUS_UNSUPPORTED


class TooLargeError(DiamondError, ValueError):
    """Larger than a stated limit."""

    status = native.DIAMOND_STATUS_TOO_LARGE


class NotFoundError(DiamondError, KeyError):
    """There is nothing by that name, or the record was deleted."""

    status = native.DIAMOND_STATUS_NOT_FOUND


class OutOfRangeError(DiamondError, KeyError):
    """The id was never given."""

    status = native.DIAMOND_STATUS_OUT_OF_RANGE


class SchemaDiffersError(DiamondError, ValueError):
    """The table exists with another schema."""

    status = native.DIAMOND_STATUS_SCHEMA_DIFFERS


class ConflictError(DiamondError):
    """A record is not what the caller expected it to be, or a name is taken. Read again and decide."""

    status = native.DIAMOND_STATUS_CONFLICT


class EndError(DiamondError):
    """The cursor has no more records. Scans turn it into the end of their iteration."""

    status = native.DIAMOND_STATUS_END


class BusyError(DiamondError):
    """In use in a way that excludes this call. Nothing changed."""

    status = native.DIAMOND_STATUS_BUSY


class LockedError(DiamondError):
    """Another process holds the database; the sentence tells its pid."""

    status = native.DIAMOND_STATUS_LOCKED


class FullError(DiamondError):
    """The disk, or the memory set aside, is full. Nothing changed."""

    status = native.DIAMOND_STATUS_FULL


class UnavailableError(DiamondError):
    """A service that a module needs is not there at the moment."""

    status = native.DIAMOND_STATUS_UNAVAILABLE


class TimeoutError(DiamondError, builtins.TimeoutError):
    """Not done in the time given."""

    status = native.DIAMOND_STATUS_TIMEOUT


class CancelledError(DiamondError):
    """Given up because the caller asked for it."""

    status = native.DIAMOND_STATUS_CANCELLED


class CommitUnknownError(DiamondError):
    """The commit may or may not be there after the next opening."""

    status = native.DIAMOND_STATUS_COMMIT_UNKNOWN


class IoError(DiamondError, OSError):
    """Reading failed, or the operating system refused something. Nothing changed."""

    status = native.DIAMOND_STATUS_IO


class CorruptError(DiamondError):
    """Bytes on disk break a rule of the format or do not match their checksum."""

    status = native.DIAMOND_STATUS_CORRUPT
    report: Optional[Dict[str, Any]] = None
    """What Database.verify found, where it raised this."""


class PoisonedError(DiamondError):
    """A write or sync failed earlier: nothing more is written until the database is opened again."""

    status = native.DIAMOND_STATUS_POISONED


class FormatError(DiamondError):
    """Not a DiamondDB database, or one of a version that this library does not know."""

    status = native.DIAMOND_STATUS_FORMAT


class NoMemoryError(DiamondError, MemoryError):
    """Not enough memory for this request."""

    status = native.DIAMOND_STATUS_NO_MEMORY


class PanicError(DiamondError):
    """A defect of the library, stopped at its border. Close the database and open it again."""

    status = native.DIAMOND_STATUS_PANIC


class ModuleError(DiamondError):
    """A module failed or broke its contract. An exception of a module written in Python is its __cause__."""

    status = native.DIAMOND_STATUS_MODULE
    report: Optional[Dict[str, Any]] = None
    """Which promises are kept and which broken, where check_store or check_cache raised this."""


ERRORS: Dict[int, Type[DiamondError]] = {kind.status: kind for kind in DiamondError.__subclasses__()}
"""The exception of each status."""


class _Raised(threading.local):
    """What a module's method raised last on this thread, and how the library was told of it."""

    exception: Optional[BaseException] = None
    text: str = ""


raised = _Raised()


def failure(status: int, message: Optional[str] = None) -> DiamondError:
    """The exception for a status: with this message, or with the sentence of this thread's last failure."""
    if message is None:
        message = native.diamond_error_message().decode("utf-8", "replace")
    error = ERRORS.get(status, DiamondError)(message)
    if status not in ERRORS:
        error.status = status  # type: ignore[misc]
    if raised.exception is not None and raised.text in message:
        error.__cause__, raised.exception = raised.exception, None
    return error


def check(status: int) -> None:
    """Raises what the status says, unless it is OK."""
    if status:
        raise failure(status)
