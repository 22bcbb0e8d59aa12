"""Every change ocitool makes to a disk, in one place.

A `Directory` is an open descriptor. Names are relative to it, one component at a time, and no
symbolic link is followed. A file gets its name only when its bytes are complete and on the disk.
Because no other package writes, renames or removes, tests can record every change and inject
faults here.

`directory` opens, looks, renames and removes; `files` writes single files; `parts` receives a file
in any order; `output` is a file that the user asked for; `trees` builds and removes whole trees.
"""

from ocitool.fsops.descriptors import CHUNK, nanoseconds, read_up_to, write_all
from ocitool.fsops.directory import Directory, Kind
from ocitool.fsops.failures import translate, translated
from ocitool.fsops.files import (
    LogFile,
    NewFile,
    TemporaryFile,
    allocate_file,
    append_to_file,
    replace_file,
    write_control,
)
from ocitool.fsops.locks import HeldLock, is_locked, take_lock, wait_for_lock
from ocitool.fsops.output import OutputFile, remove_output, write_output, write_outputs
from ocitool.fsops.parts import PartFile
from ocitool.fsops.scratch import scratch_file, scratch_folder, spooling
from ocitool.fsops.stamps import Stamp
from ocitool.fsops.trees import (
    describe_folder,
    make_folder,
    make_hard_link,
    make_link,
    make_node,
    make_private_folder,
    remove_tree,
    set_mode,
    set_nanoseconds,
    set_owner,
    set_times,
    staging_folder,
    sync_file_system,
    tree_size,
    tree_usage,
)

__all__ = [
    "CHUNK",
    "Directory",
    "HeldLock",
    "Kind",
    "LogFile",
    "NewFile",
    "OutputFile",
    "PartFile",
    "Stamp",
    "TemporaryFile",
    "allocate_file",
    "append_to_file",
    "describe_folder",
    "is_locked",
    "make_folder",
    "make_hard_link",
    "make_link",
    "make_node",
    "make_private_folder",
    "nanoseconds",
    "read_up_to",
    "remove_output",
    "remove_tree",
    "replace_file",
    "scratch_file",
    "scratch_folder",
    "set_mode",
    "set_nanoseconds",
    "set_owner",
    "set_times",
    "spooling",
    "staging_folder",
    "sync_file_system",
    "take_lock",
    "translate",
    "translated",
    "tree_size",
    "tree_usage",
    "wait_for_lock",
    "write_all",
    "write_control",
    "write_output",
    "write_outputs",
]
