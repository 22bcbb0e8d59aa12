"""A command reads the store once, however many images it is given."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, Command, environment
from tests.support.images import build_image, docker_archive

MANY = 50
IMAGES = {
    f"docker.io/library/a:{number}": build_image([{"a": f"{number}".encode()}])
    for number in range(MANY)
}
IDS = [image.config.digest.hex[:16] for image in IMAGES.values()]
COUNTING = """
import collections, json, os, sys
opened = collections.Counter()
def count(event, arguments):
    if event == "open":
        opened[os.path.basename(os.fsdecode(arguments[0]))] += 1
sys.addaudithook(count)
from ocitool.cli.main import run
code = run(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump([code, opened], file)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    (folder / "many.tar").write_bytes(docker_archive(IMAGES))
    command = Command(folder / "store", folder)
    assert command("load", folder / "many.tar").code == 0
    assert command("images").code == 0
    assert command("inspect", *IDS).code == 0
    return command.store


def readings(store: Path, folder: Path, *arguments: str) -> dict[str, int]:
    """Return how often the command opened index.json and the summaries."""
    counts = folder / "counts"
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(counts), *arguments],
        env={**environment(store), "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        check=False,
    )
    code, opened = json.loads(counts.read_text())
    assert code == 0, done.stderr
    return {name: opened.get(name, 0) for name in ("index.json", "summaries.jsonl", "layers.jsonl")}


@pytest.mark.parametrize(
    "command", [("save", "-o", "x.tar"), ("inspect",), ("pin",), ("unpin",), ("rm",)]
)
def test_many_ids_are_found_in_one_reading(
    store: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    one = readings(store, tmp_path, *command, IDS[0])
    many = readings(store, tmp_path, *command, *IDS[1:])
    # A second look before something is changed is right; one for each image is not.
    assert many == one
