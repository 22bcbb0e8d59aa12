"""The builder of small images: what is in them, as ocitool reads it."""

from pathlib import Path

import pytest

from ocitool.image.layers import EntryKind, LayerEntry, list_layer
from ocitool.images.opening import open_source
from ocitool.operations.inspect import inspect
from tests.support.images import Compression
from tests.support.root_files import folder, hard_link
from tests.support.small_images import (
    CODECS,
    FORMS,
    NAME,
    Form,
    file,
    gone,
    opaque,
    small_image,
    write_image,
)

LAYERS = (
    [folder("d"), file("d/a", 1000, owner=(5, 6)), hard_link("b", "d/a")],
    [gone("d/a"), opaque("d")],
)


def read(path: Path) -> list[list[LayerEntry]]:
    with open_source(f"{path}") as opened:
        assert [root.names for root in opened.roots] == [(NAME,)]
        layers = inspect(opened.source, opened.root, measure=False).layers
        return [[*list_layer(opened.source, layer.descriptor)] for layer in layers]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_the_same_in_every_codec_and_form(
    form: Form, codec: Compression, tmp_path: Path
) -> None:
    lower, upper = read(write_image(tmp_path, small_image(*LAYERS, codec=codec), form))
    assert [(e.path, e.kind, e.size, e.uid, e.target) for e in lower] == [
        ("d", EntryKind.DIRECTORY, 0, 0, None),
        ("d/a", EntryKind.FILE, 1000, 5, None),
        ("b", EntryKind.HARD_LINK, 0, 0, "d/a"),
    ]
    assert [(e.path, e.kind) for e in upper] == [
        ("d/a", EntryKind.WHITEOUT),
        ("d", EntryKind.OPAQUE),
    ]


def test_the_content_of_a_file_comes_from_its_path_or_a_text() -> None:
    assert file("ab", 8).data == b"ab\nab\nab"
    assert file("other", 5, "xy").data == b"xyxyx"


def test_the_steps_are_the_history_of_the_image(tmp_path: Path) -> None:
    image = small_image(*LAYERS, steps=["COPY . /", "RUN rm /d/a"])
    with open_source(f"{write_image(tmp_path, image)}") as opened:
        steps = [layer.instruction for layer in inspect(opened.source, opened.root).layers]
    assert steps == ["COPY . /", "RUN rm /d/a"]
