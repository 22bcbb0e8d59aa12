"""The file that a command writes for the user, such as the archive of `save`."""

import contextlib
import os
import stat
from collections.abc import Mapping

from ocitool.errors import Refused, UsageError
from ocitool.fsops.descriptors import Writeback, write_all
from ocitool.fsops.directory import Directory
from ocitool.fsops.failures import translated
from ocitool.fsops.scratch import fresh_name


def write_output(path: str, data: bytes) -> None:
    """Write a file for the user, which appears complete or not at all. See `OutputFile`."""
    write_outputs({path: data})


def write_outputs(files: Mapping[str, bytes]) -> None:
    """Write files for the user: all are complete on the disk before the first gets its name."""
    outputs = []
    try:
        for path, data in files.items():
            outputs.append(OutputFile(path))
            outputs[-1].write(data)
        for output in outputs:
            output.publish()
    finally:
        for output in outputs:
            output.close()


def remove_output(path: str) -> bool:
    """Remove a file that an earlier run wrote for the user; tell whether there was one.

    A pipe, a terminal and a folder stay, and so does what /dev/stdout leads to.
    """
    real = os.path.realpath(path)
    if os.path.abspath(path).startswith(("/dev/", "/proc/")) or not os.path.isfile(real):
        return False
    with translated("remove", path):
        os.unlink(real)
    return True


class OutputFile:
    """A file for the user that appears complete or not at all.

    It takes the mode of a file that it replaces; a new one may be `executable`. Unless it
    `replaces`, a path where something is already is Refused. Where the file system allows it, the
    file has no name until `publish`, so even a killed process leaves nothing behind. A pipe,
    terminal or device is written to directly. `written` counts the bytes so far.
    """

    def __init__(self, path: str, *, executable: bool = False, replaces: bool = True) -> None:
        self.path = path
        self.written = 0
        self._replaces = replaces
        self._new_mode = 0o777 if executable else 0o666
        real = os.path.realpath(path)
        self._name = os.path.basename(real)
        self._folder = Directory.open(os.path.dirname(real))
        self._temporary: str | None = None
        self._direct = False
        self._mode: int | None = None
        try:
            with translated("write", path):
                self._descriptor = self._open()
                self._writeback = Writeback(self._descriptor)
        except BaseException:
            self._folder.close()
            raise

    def _open(self) -> int:
        # The path as given, not its real path: /dev/stdout may lead to a pipe, which has no path.
        try:
            mode = os.stat(self.path).st_mode
            self._check_free()
        except FileNotFoundError:
            mode = stat.S_IFREG
        if stat.S_ISDIR(mode) or self.path.endswith("/"):
            raise UsageError(f"{self.path!r} is a folder; name a file in it")
        self._mode = stat.S_IMODE(mode) or None
        if not stat.S_ISREG(mode):
            self._direct = True
            return os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        flags, folder = os.O_RDWR | os.O_CLOEXEC, self._folder.descriptor
        # A file without a name gets one through /proc, which a chroot may lack.
        if os.path.isdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                return os.open(
                    ".", flags | os.O_TMPFILE, self._new_mode, dir_fd=self._folder.descriptor
                )
        self._temporary = fresh_name()
        flags |= os.O_CREAT | os.O_EXCL
        return os.open(self._temporary, flags, self._new_mode, dir_fd=folder)

    def write(self, data: bytes) -> None:
        """Write all of `data`."""
        with translated("write", self.path):
            write_all(self._descriptor, data)
        self.written += len(data)
        self._writeback.wrote(len(data))

    def publish(self) -> None:
        """Make the file durable and give it its name, replacing what had that name."""
        if self._direct:
            return
        with translated("write", self.path):
            if self._mode is not None:
                os.fchmod(self._descriptor, self._mode)
            os.fsync(self._descriptor)
            if self._temporary is None:
                # link(2) cannot replace a file, so the file gets a name of its own first.
                self._temporary = fresh_name()
                os.link(
                    f"/proc/self/fd/{self._descriptor}",
                    self._temporary,
                    dst_dir_fd=self._folder.descriptor,
                    follow_symlinks=True,
                )
            self._take_name(self._temporary)
            self._temporary = None
            os.fsync(self._folder.descriptor)

    def _take_name(self, temporary: str) -> None:
        folder = self._folder.descriptor
        if self._replaces:
            os.rename(temporary, self._name, src_dir_fd=folder, dst_dir_fd=folder)
            return
        try:
            os.link(temporary, self._name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileExistsError:
            self._check_free()
        os.unlink(temporary, dir_fd=folder)

    def _check_free(self) -> None:
        """Refuse the path of something that is there, unless it is to be replaced."""
        if not self._replaces:
            raise Refused(f"{self.path!r} is there already", hint="name another file")

    def close(self) -> None:
        """Close the file, and remove it unless it was published; harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            if self._temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(self._temporary, dir_fd=self._folder.descriptor)
            self._folder.close()
