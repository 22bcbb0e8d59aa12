"""A stand-in for runc: what `ocitool container start` needs of a runtime, without namespaces."""

from pathlib import Path

_SCRIPT = """#!/bin/sh
# Writes its process ID where runc would, and then does what the test wants.
for word; do
    case $last in
    --pid-file) pid=$word ;;
    --bundle) bundle=$word ;;
    --log) log=$word ;;
    esac
    last=$word
    test "$word" = delete && { echo "$*" >>"$0.deleted"; exit 0; }
done
"""


def stand_in(folder: Path, does: str = "echo $$ >$pid; exit 7") -> Path:
    """Write the program; `does` are lines of sh(1), which know $pid, $bundle and $log."""
    place = folder / "runtime"
    place.write_text(f"{_SCRIPT}{does}\n")
    place.chmod(0o755)
    return place
