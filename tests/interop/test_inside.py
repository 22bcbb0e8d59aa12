"""Looking inside, beside those who do it too: umoci's unpacked trees, and the figures of dive.

Every archive of the fixtures is compared, and of the folder that `OCITOOL_CORPUS` names.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ocitool.errors import OcitoolError
from ocitool.image.choosing import platform_images
from ocitool.image.graph import closure_of
from ocitool.image.layers import unpacked
from ocitool.images.opening import Opened, open_source
from ocitool.inside.dive import dive_figures
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import Inside, look_inside
from tests.interop.peers import attempt, run
from tests.support.file_systems import Things, agree, things_inside, things_on_disk
from tests.support.images import build_image, hybrid_archive, write_layout
from tests.support.insides import looked_into
from tests.support.layer_cases import CASES, LayerCase
from tests.support.small_images import NAME, small_image
from tests.support.worked_examples import DIVE_RULES, EXAMPLES, DiveRule, Example
from tests.test_corpus import Case, all_cases

pytestmark = pytest.mark.interop

# What a peer cannot read, and what it says then.
UMOCI_REFUSES = {
    "emptywhiteout.tar": "unpack entry: .wh.:",
    "a hard link to itself is the file that was there": "link: no such file or directory",
}
DIVE_REFUSES = {"layerzerobytes.tar": "EOF"}


_KNOWN: dict[str, set[object]] = {}


@pytest.fixture
def known(request: pytest.FixtureRequest) -> set[object]:
    """The diff IDs of images that this test has compared: many archives hold the same."""
    return _KNOWN.setdefault(request.function.__name__, set())


def insides(case: Case, known: set[object]) -> Iterator[Inside]:
    """Yield each image of an archive that has layers and is not known yet."""
    try:
        with open_source(str(case.path)) as opened:
            yield from _images(opened, known)
    except OcitoolError:
        if case.owed == "load":
            raise


def _images(opened: Opened, known: set[object]) -> Iterator[Inside]:
    source = opened.source
    for root in opened.roots:
        for image in platform_images(source, closure_of(source, root.descriptor)):
            inside = look_inside(
                source, root, platform=image.platform, required=True, hashes=Hashes.ALL
            )
            if inside.config.diff_ids and inside.config.diff_ids not in known:
                known.add(inside.config.diff_ids)
                yield inside


def tars(inside: Inside) -> list[bytes]:
    """Return the layers of an image, unpacked and verified."""
    found = []
    for layer in inside.layers:
        assert layer.diff_id is not None
        with inside.source.open(layer.descriptor) as blob:
            pieces = unpacked(blob, layer.diff_id, stored=layer.descriptor.digest)
            found.append(b"".join(pieces))
    return found


def unpacked_by_umoci(folder: Path, layers: Sequence[bytes], name: str) -> Things | None:
    """Return the root file system that umoci makes of an image; None for what it cannot unpack."""
    layout = write_layout(folder / "layout", {"1": build_image(layers)})
    command = ["umoci", "unpack", "--image", f"{layout}:1", str(folder / "bundle")]
    if name in UMOCI_REFUSES:
        assert UMOCI_REFUSES[name] in attempt(command).stderr.decode()
        return None
    run(command)
    return things_on_disk(folder / "bundle" / "rootfs")


def said_by_dive(folder: Path, layers: Sequence[bytes], name: str) -> tuple[float, int] | None:
    """Return the efficiency and the wasted bytes that dive finds in an image of these layers."""
    folder.mkdir(exist_ok=True)
    archive, report = folder / "image.tar", folder / "dive.json"
    archive.write_bytes(hybrid_archive({NAME: build_image(layers, compression="none")}))
    command = ["dive", f"docker-archive://{archive}", "--json", str(report)]
    if name in DIVE_REFUSES:
        assert DIVE_REFUSES[name] in attempt(command).stderr.decode()
        return None
    run(command)
    image = json.loads(report.read_bytes())["image"]
    return image["efficiencyScore"], image["inefficientBytes"]


def assert_same(found: Things, real: Things | None) -> None:
    if real is not None:
        assert found == agree(found, real)


def figures(inside: Inside) -> tuple[float, int]:
    found = dive_figures([layer.table for layer in inside.layers if layer.table is not None])
    return found.efficiency, found.wasted_bytes


each_archive = pytest.mark.parametrize(
    "case",
    [case for case in all_cases() if case.owed in ("load", "either")],
    ids=lambda case: f"{case.folder.name}/{case.name}",
)


@each_archive
class TestArchives:
    def test_the_merged_tree_is_what_umoci_unpacks(
        self, case: Case, known: set[object], tmp_path: Path, require: Callable[..., None]
    ) -> None:
        require("umoci")
        for number, inside in enumerate(insides(case, known)):
            real = unpacked_by_umoci(tmp_path / f"{number}", tars(inside), case.path.name)
            assert_same(things_inside(inside), real)

    def test_the_figures_of_dive_are_its_own(
        self, case: Case, known: set[object], tmp_path: Path, require: Callable[..., None]
    ) -> None:
        require("dive")
        for number, inside in enumerate(insides(case, known)):
            if not any(problem.kind == "stray_whiteout" for problem in inside.problems):
                said = said_by_dive(tmp_path / f"{number}", tars(inside), case.path.name)
                assert said in (figures(inside), None)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
class TestWorkedExamples:
    def test_umoci_unpacks_the_same_tree(
        self, example: Example, tmp_path: Path, require: Callable[..., None]
    ) -> None:
        require("umoci")
        image = example.image()
        found = things_inside(looked_into(image, hashes=Hashes.ALL))
        assert_same(found, unpacked_by_umoci(tmp_path, image.tars, example.name))

    def test_dive_says_what_the_table_says(
        self, example: Example, tmp_path: Path, require: Callable[..., None]
    ) -> None:
        require("dive")
        said = said_by_dive(tmp_path, example.image().tars, example.name)
        if example.dive_stops:
            # A path of no size counts -1 there, and the rest of the layer nothing at all.
            assert said == (4999 / 5000, 0)
        else:
            assert said == example.dive


@pytest.mark.parametrize("case", CASES, ids=str)
def test_umoci_decides_as_the_table_of_cases(
    case: LayerCase, tmp_path: Path, require: Callable[..., None]
) -> None:
    require("umoci")
    image = small_image(*case.layers)
    found = things_inside(looked_into(image, hashes=Hashes.ALL))
    assert_same(found, unpacked_by_umoci(tmp_path, image.tars, case.name))


@pytest.mark.parametrize("rule", DIVE_RULES, ids=str)
def test_dive_has_the_rules_of_the_table(
    rule: DiveRule, tmp_path: Path, require: Callable[..., None]
) -> None:
    require("dive")
    said = said_by_dive(tmp_path, small_image(*rule.layers).tars, rule.name)
    assert said == (rule.efficiency, rule.wasted_bytes)
