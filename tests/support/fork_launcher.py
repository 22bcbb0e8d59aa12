"""What stands for `ocitool` in a script: the server of `forked` runs it, on our streams."""

import json
import os
import socket
import sys


def main() -> int:
    """Ask for one command, wait for its end, and return its exit code."""
    mask = os.umask(0o022)
    request = {
        "arguments": sys.argv[2:],
        "cwd": os.getcwd(),
        "env": dict(os.environ),
        "umask": mask,
        "uid": None,
    }
    server = socket.socket(fileno=int(sys.argv[1]))
    ours, theirs = socket.socketpair()
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2, theirs.fileno()])
    theirs.close()
    return int(ours.recv(16))


if __name__ == "__main__":
    sys.exit(main())
