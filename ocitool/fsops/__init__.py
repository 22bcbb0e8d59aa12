"""Every change ocitool makes to a disk, in one place.

A directory is an open descriptor; files are named relative to it, one component at a time, and no
symbolic link is ever followed. A file appears under its name only when its bytes are complete and
on the disk. Because no other module writes, renames or removes, faults can be recorded and
injected here.
"""

from ocitool.fsops.descriptors import CHUNK, nanoseconds, read_up_to, write_all
from ocitool.fsops.directory import Directory, Kind, Stamp
from ocitool.fsops.failures import translate, translated
from ocitool.fsops.files import NewFile, TemporaryFile
from ocitool.fsops.output import OutputFile
from ocitool.fsops.parts import PartFile
from ocitool.fsops.scratch import scratch_file, scratch_folder

__all__ = [
    "CHUNK",
    "Directory",
    "Kind",
    "NewFile",
    "OutputFile",
    "PartFile",
    "Stamp",
    "TemporaryFile",
    "nanoseconds",
    "read_up_to",
    "scratch_file",
    "scratch_folder",
    "translate",
    "translated",
    "write_all",
]
