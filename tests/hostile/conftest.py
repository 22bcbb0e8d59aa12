"""A server of forks and a store with one image, for all tests of one process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.hostile import archive, layout, sha256, tar
from tests.hostile.forks import Forks
from tests.hostile.scene import Scene


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Return the command line, ready to be forked."""
    with Forks() as server:
        yield server


@pytest.fixture(scope="session")
def template(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with one image of its own; not to be changed."""
    folder = tmp_path_factory.mktemp("template")
    layer = tar({"etc/motd": b"the store's own\n"})
    image = archive(layout([layer], diff_ids=[sha256(layer)], name="docker.io/own/image:1"))
    variables = {"OCITOOL_STORE": str(folder / "store")}
    loaded = forks.run("load", str(image(folder)), cwd=folder, variables=variables)
    assert loaded.code == 0, loaded
    return folder / "store"


@pytest.fixture
def scene(tmp_path: Path, template: Path) -> Scene:
    """Return a fresh scene."""
    return Scene.make(tmp_path / "scene", template)
