"""One parser under atheris: `python -m tests.hostile.under_atheris TARGET SECONDS`."""

import importlib
import sys
from functools import partial


def main() -> None:
    """Fuzz a target for so many seconds; what the parser raises ends the process."""
    target, seconds = sys.argv[1], sys.argv[2]
    # Not installed everywhere, and only what is imported below it is looked into.
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["ocitool"]):
        fuzzing = importlib.import_module("tests.hostile.fuzzing")
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}"], partial(fuzzing.tried, target))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
