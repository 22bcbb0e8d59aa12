"""The one tar parser: strict, streaming, in constant memory. No disk, no decompression.

It reads what image tools write: V7, POSIX ustar, PAX (POSIX.1-2001, "pax Interchange Format"), GNU
long names, base-256 numbers, and the headers of GNU and PAX sparse files. It never guesses: where
two readers could see different members in the same bytes, the archive is refused.

A `TarReader` takes an input, of which there are three: `SeekableInput` for a file and
`PositionedInput` for a part of one, whose member data is passed over, and `StreamInput` for
anything that can only be read.
"""

from ocitool.formats.tar.data import MemberData
from ocitool.formats.tar.entry import DEFAULT_TAR_LIMITS, Entry, EntryType, NotATar, TarLimits
from ocitool.formats.tar.inputs import (
    PositionedInput,
    SeekableFile,
    SeekableInput,
    StreamInput,
    TarInput,
)
from ocitool.formats.tar.reader import TarReader, entries
from ocitool.formats.tar.sparse import sparse_content

__all__ = [
    "DEFAULT_TAR_LIMITS",
    "Entry",
    "EntryType",
    "MemberData",
    "NotATar",
    "PositionedInput",
    "SeekableFile",
    "SeekableInput",
    "StreamInput",
    "TarInput",
    "TarLimits",
    "TarReader",
    "entries",
    "sparse_content",
]
