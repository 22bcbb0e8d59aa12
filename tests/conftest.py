"""What holds for all tests: commands can be interrupted, caches are theirs, some are fast."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.examples import part_of

settings.register_profile("ocitool", max_examples=part_of(100))
settings.load_profile("ocitool")

# What a shell starts in the background ignores SIGINT, and all that it starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Compiling ocitool and the tests once is enough, whatever the environment says: each process that
# a test starts would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

HERE = Path(__file__).parent
FAST = (
    "oci",
    "formats",
    "fsops",
    "image",
    "images",
    "inside",
    "transfer",
    "places/layout",
    "places/archive",
)


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep nothing of these tests in the caches of the user who runs them."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("caches"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of rooms that start no process as fast."""
    folders = tuple(f"{HERE / name}/" for name in FAST)
    for item in items:
        slow = any(item.get_closest_marker(name) for name in ("soak", "interop"))
        if not slow and str(item.path).startswith(folders):
            item.add_marker(pytest.mark.fast)
