"""Layers with sparse files, as GNU tar writes them in each of its forms."""

import subprocess
import tempfile
from pathlib import Path
from typing import Final

SPARSE_FORMS: Final = ("gnu", "0.0", "0.1", "1.0")


def holed(parts: int = 40) -> bytes:
    """Return a content with holes: at its beginning, between its parts, and at its end."""
    content = bytearray(parts * 16384 + 5000)
    for number in range(parts):
        begin = number * 16384 + 8192
        content[begin : begin + 4096] = bytes([1 + number % 255]) * 4096
    return bytes(content)


def _write_with_holes(path: Path, content: bytes) -> None:
    # GNU tar looks for holes only in a file that takes less of the disk than its size.
    with path.open("wb") as file:
        file.truncate(len(content))
        for begin in range(0, len(content), 4096):
            block = content[begin : begin + 4096]
            if any(block):
                file.seek(begin)
                file.write(block)


def sparse_tar(form: str, files: dict[str, bytes]) -> bytes:
    """Return a tar in which GNU tar has stored these files without their holes."""
    kind = ["--format=gnu"] if form == "gnu" else ["--format=posix", f"--sparse-version={form}"]
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_with_holes(path, content)
        options = ["--sparse", "--hole-detection=raw", *kind, "--owner=7", "--group=8"]
        command = ["tar", "-C", folder, *options, "-cf", "-", *files]
        return subprocess.run(command, check=True, capture_output=True).stdout
