"""Runs a command and prints on stderr's last line how many KiB of memory it had at its peak.

A program of its own, and a small one: the kernel counts the memory of the process that forks as a
peak of its child.
"""

import os
import sys

if __name__ == "__main__":
    pid = os.fork()
    if pid == 0:
        os.execv(sys.argv[1], sys.argv[1:])
    _, status, usage = os.wait4(pid, 0)
    print(usage.ru_maxrss, file=sys.stderr)
    sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
