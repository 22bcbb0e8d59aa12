"""A writable layer over an image, both empty."""

from pathlib import Path

import pytest

from tests.containers.writable.trees import Trees


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path)
