"""Every archive of the fixtures, and of a larger collection where `OCITOOL_CORPUS` names one.

Both have a list in Markdown, one line a file, that says what loading owes it.
"""

import hashlib
import json
import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.build import archives
from ocitool.errors import IntegrityError, NotFound
from ocitool.places.layout import Layout
from tests.support.stores import assert_whole, contents, load_archive, save_bytes, written

FIXTURES = Path(__file__).parent.parent / "fixtures"
_LINE = re.compile(r"- `([^`]+)`[^:]*: \[(load|refuse|layer|either)\]")


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a list."""

    folder: Path
    name: str
    owed: str

    @property
    def path(self) -> Path:
        return self.folder / self.name


def listed(index: Path) -> list[Case]:
    lines = index.read_text(encoding="utf-8").splitlines()
    matches = [match for line in lines if (match := _LINE.match(line))]
    return [Case(index.parent, match[1], match[2]) for match in matches]


def all_cases() -> list[Case]:
    corpus = os.environ.get("OCITOOL_CORPUS")
    return listed(FIXTURES / "README.md") + (listed(Path(corpus) / "INDEX.md") if corpus else [])


def owing(*owed: str) -> list[object]:
    """Return the cases as parameters; what may go either way counts as both."""
    return [
        pytest.param(case, id=f"{case.folder.name}/{case.name}")
        for case in all_cases()
        if case.owed in owed
    ]


@pytest.mark.skipif("OCITOOL_CORPUS" not in os.environ, reason="OCITOOL_CORPUS names no folder")
def test_the_corpus_is_complete() -> None:
    cases = listed(Path(os.environ["OCITOOL_CORPUS"]) / "INDEX.md")
    assert len(cases) > 100
    assert [case.name for case in cases if not case.path.exists()] == []


def test_the_list_of_fixtures_holds_every_kind() -> None:
    owed = {case.owed for case in listed(FIXTURES / "README.md")}
    assert owed == {"load", "refuse", "layer", "either"}


def test_every_fixture_is_listed_and_there() -> None:
    names = {case.name for case in listed(FIXTURES / "README.md")}
    found = {p.name for p in FIXTURES.iterdir() if p.suffix not in (".py", ".md", ".svg")}
    for folder in ("built", "cases"):
        found |= {f"{folder}/{path.name}" for path in (FIXTURES / folder).iterdir()}
    others = {"built", "cases", "hostile", "names", "packages", "signatures", "__pycache__"}
    assert names == found - others


def test_the_built_fixtures_are_what_the_script_builds() -> None:
    fresh = archives()
    stored = {path.name: path.read_bytes() for path in (FIXTURES / "built").iterdir()}
    assert fresh.keys() == stored.keys()
    # What a compression library makes may change with its version.
    plain = ("symloop.tar", "wrongorder.tar", "noeoa.tar", "dupentry.tar", "rootfs.tar")
    assert {name: fresh[name] for name in plain} == {name: stored[name] for name in plain}


@pytest.mark.parametrize("case", owing("load"))
def test_an_archive_loads_and_is_whole_afterwards(case: Case, tmp_path: Path) -> None:
    report = load_archive(case.path, tmp_path / "store")
    assert report.images
    assert_whole(tmp_path / "store")
    _assert_all_blobs_hash(tmp_path / "store")


@pytest.mark.parametrize("case", owing("load"))
def test_manifests_keep_their_digest_and_images_their_id(case: Case, tmp_path: Path) -> None:
    load_archive(case.path, tmp_path / "store")
    with Layout.existing(str(tmp_path / "store")) as layout:
        digests = {str(root.descriptor.digest) for root in layout.roots()}
        present = {str(digest) for digest in layout.blob_digests()}
    entries, configs = _identities(case.path)
    # Entries that are one multi-platform image become the children of an index.
    assert entries <= digests | present
    assert configs <= present


@pytest.mark.parametrize("case", owing("load"))
def test_saving_loading_and_saving_again_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    load_archive(case.path, tmp_path / "first")
    once = save_bytes(tmp_path / "first")
    load_archive(written(tmp_path / "once.tar", once), tmp_path / "second")
    assert save_bytes(tmp_path / "second") == once
    assert_whole(tmp_path / "second")


@pytest.mark.parametrize("case", owing("refuse"))
def test_an_archive_that_is_refused_leaves_nothing_behind(case: Case, tmp_path: Path) -> None:
    with pytest.raises((IntegrityError, NotFound)) as raised:
        load_archive(case.path, tmp_path / "store")
    assert raised.value.message
    _assert_nothing_arrived(tmp_path / "store")


@pytest.mark.parametrize("case", owing("layer"))
def test_a_layer_is_refused_with_a_hint(case: Case, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as raised:
        load_archive(case.path, tmp_path / "store")
    assert raised.value.hint
    _assert_nothing_arrived(tmp_path / "store")


@pytest.mark.parametrize("case", owing("either"))
def test_a_doubtful_archive_loads_whole_or_leaves_nothing(case: Case, tmp_path: Path) -> None:
    try:
        load_archive(case.path, tmp_path / "store")
    except (IntegrityError, NotFound):
        _assert_nothing_arrived(tmp_path / "store")
    else:
        assert_whole(tmp_path / "store")


def _assert_nothing_arrived(store: Path) -> None:
    # An archive that cannot be opened is refused before the store is made.
    if store.exists():
        assert list(contents(store)) == ["index.json"]
        with Layout.existing(str(store)) as layout:
            assert layout.roots() == ()


def _assert_all_blobs_hash(store: Path) -> None:
    for path in (store / "blobs").rglob("*"):
        if path.is_file():
            assert hashlib.new(path.parent.name, path.read_bytes()).hexdigest() == path.name


def _identities(path: Path) -> tuple[set[str], set[str]]:
    """Return the digests in index.json and of the configs, read without the code under test."""
    if path.is_dir():
        files = {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    else:
        files = _members(path)
    index = json.loads(files.get("index.json", b"{}"))
    entries = {entry["digest"] for entry in index.get("manifests") or ()}
    manifest = json.loads(files.get("manifest.json", b"[]"))
    configs = set()
    for image in manifest if isinstance(manifest, list) else ():
        packed = image.get("Image")
        if packed is not None:
            entries.add(packed["Manifest"]["Digest"])
            configs.add(packed["Config"]["Digest"])
            continue
        config = files[image.get("Config") or image["config"]]
        configs.add(f"sha256:{hashlib.sha256(config).hexdigest()}")
    return entries, configs


def _members(path: Path) -> dict[str, bytes]:
    """Return the small members of a tar by their path, through Python's own reader."""
    if path.suffix == ".zst":
        return {}
    found: dict[str, bytes] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isfile() and member.size < 1 << 20:
                file = tar.extractfile(member)
                assert file is not None
                found[os.path.normpath(member.name)] = file.read()
    return found
