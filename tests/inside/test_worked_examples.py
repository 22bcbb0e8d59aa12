"""The seventeen small images: what is in them, what is hidden, and by what, layer by layer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.inside.dive import dive_figures
from ocitool.inside.duplicates import hash_doubtful
from ocitool.inside.hashes import Hashes
from ocitool.inside.image import Inside
from ocitool.inside.sizing import measure
from ocitool.inside.table import FILE
from tests.inside.looking import looking
from tests.support.images import Compression
from tests.support.insides import looked_into
from tests.support.small_images import CODECS, small_image
from tests.support.worked_examples import DIVE_RULES, EXAMPLES, DiveRule, Example


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Compression:
    found: Compression = request.param
    return found


def hidden(inside: Inside) -> Iterator[tuple[str, int, int, int, str]]:
    """Yield path, bytes, layer, hiding layer and way of all hidden files with a size."""
    for record in inside.tree.records:
        for row, index in enumerate(record.fates):
            size = record.table.sizes[row]
            if index and size and record.table.kinds[row] == FILE:
                fate = inside.tree.fates[index]
                yield record.path(row), size, record.number, fate.layer, fate.how


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
class TestEachLayer:
    def test_bytes_and_what_is_hidden(self, example: Example, codec: Compression) -> None:
        inside = looked_into(example.image(codec), hashes=Hashes.ALL)
        tables = [layer.table for layer in inside.layers]
        assert [sum(table.sizes) for table in tables if table] == [*example.file_bytes]
        assert sorted(hidden(inside)) == sorted(example.as_fates())
        for number, expected in enumerate(example.hidden_bytes, 1):
            of_layer = [size for _, size, layer, _, _ in hidden(inside) if layer == number]
            assert sum(of_layer) == expected

    def test_what_size_tells(self, example: Example, codec: Compression) -> None:
        inside = looked_into(example.image(codec), hashes=Hashes.DOUBTFUL)
        hash_doubtful(inside, duplicates=True)
        report = measure(inside, duplicates=True)
        assert (report.file_bytes, report.wasted_bytes) == (example.total, example.waste)
        assert report.live_bytes == example.total - example.waste
        assert report.efficiency == example.efficiency
        assert report.duplicate_bytes == example.duplicate_bytes
        counts = [(layer.added, layer.changed, layer.deleted) for layer in report.layers]
        assert counts == [
            (
                example.count(example.added, number),
                example.count(example.changed, number),
                example.count(example.deleted, number),
            )
            for number in range(len(example.layers))
        ]
        repeated = tuple(layer.repeated_bytes or 0 for layer in report.layers)
        assert repeated == (example.repeated_bytes or (0,) * len(example.layers))
        hidden_in = [layer.hidden_bytes for layer in report.layers]
        assert hidden_in == [*example.hidden_bytes]
        metadata = sum(layer.metadata_only_bytes or 0 for layer in report.layers)
        assert metadata == sum(size for _, size, _, _, how in example.wasted if how == "metadata")

    def test_the_problems(self, example: Example, codec: Compression) -> None:
        inside = looked_into(example.image(codec))
        found = tuple((problem.layer, problem.path, problem.kind) for problem in inside.problems)
        assert found == example.problems

    def test_a_layout_is_read_alike(self, example: Example, tmp_path: Path) -> None:
        with looking(tmp_path, example.image()) as inside:
            assert sorted(hidden(inside)) == sorted(example.as_fates())

    def test_what_dive_says(self, example: Example, codec: Compression) -> None:
        inside = looked_into(example.image(codec))
        tables = [layer.table for layer in inside.layers if layer.table]
        figures = dive_figures(tables)
        assert (figures.efficiency, figures.wasted_bytes) == example.dive
        user = sum(example.file_bytes[1:])
        ratio = figures.wasted_bytes / user if user else None
        assert figures.user_wasted_percent == ratio


@pytest.mark.parametrize("rule", DIVE_RULES, ids=str)
def test_the_rules_of_dive(rule: DiveRule) -> None:
    inside = looked_into(small_image(*rule.layers))
    figures = dive_figures([layer.table for layer in inside.layers if layer.table])
    assert (figures.efficiency, figures.wasted_bytes) == (rule.efficiency, rule.wasted_bytes)


def test_an_image_without_bytes_is_efficient() -> None:
    assert dive_figures([]).efficiency == 1.0
    assert dive_figures([]).user_wasted_percent is None
