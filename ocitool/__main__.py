"""`python -m ocitool` and the console script."""

import contextlib
import gc
import os
import signal
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the command has begun, Ctrl-C ends this process without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A command makes many objects and few cycles of them: looking for these less often costs no
    # memory, and saves a tenth of the time on a large store.
    gc.set_threshold(20_000, 20, 100)
    from ocitool.cli.main import run

    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
    # Nothing is left to tidy up, and taking the interpreter apart takes longer than some commands.
    os._exit(code)


if __name__ == "__main__":
    main()
