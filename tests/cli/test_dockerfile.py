"""ocitool dockerfile: what an image may have been built with, each guess marked as one."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.command import FIXTURES, Command
from tests.support.images import BuiltImage, Compression, blob_path, write_layout
from tests.support.registry import EmulatedRegistry
from tests.support.root_files import Node, folder
from tests.support.small_images import CODECS, NAME, file, gone, small_image

HEX = "c50ecf0f8081044924e199cfe6cfd18d0c9dd4d16be07790bb24f7088112b98e"
OPAQUE = "rm -rf /data/opq && mkdir /data/opq && echo n > /data/opq/new"
COPY = f"/bin/sh -c #(nop) COPY dir:{HEX} in /srv "


def written(ocitool: Command, tmp_path: Path, image: BuiltImage, *more: str) -> list[str]:
    layout = write_layout(tmp_path / "layout", {NAME: image})
    done = ocitool("dockerfile", f"oci:{layout}", *more)
    assert done.code == 0, done.err
    return done.out.splitlines()


def image_of(*layers: list[Node], **options: Any) -> BuiltImage:
    """Build an image whose configuration sets nothing."""
    return small_image(*layers, **{"config": {"config": {}}, **options})


def test_an_archive_of_docker(ocitool: Command) -> None:
    done = ocitool("dockerfile", FIXTURES / "docker20-app-single.tar")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[:5] == [
        "# fmt/app:1.0, linux/amd64: 5 layers, 11 steps",
        '# "# ?" marks what the history does not record',
        "# base: unknown",
        "",
        "COPY # 18 files, 1.98 MB, layer 1 /  # ? (Imported from -)",
    ]
    assert lines[5] == "LABEL org.opencontainers.image.title=fmt"
    assert lines[6].startswith("RUN mkdir -p /data/dir ")
    assert lines[7:] == [
        "ENV A=1",
        f"RUN rm /data/a && rm -rf /data/gone && {OPAQUE}",
        "COPY # 1 file, 6 B, layer 4 /hello.txt",
        "RUN true",
        "ENV B=2",
        "RUN true",
        "COPY # 1 file, 6 B, layer 5 /data/hello.txt",
        'CMD ["/bin/sh"]',
        "",
        "# in the configuration, and not in the history:",
        "ENV PATH=/bin",
    ]


def test_the_base_is_named_by_an_image_of_the_store(loaded: Command) -> None:
    done = loaded("dockerfile", "fmt/app:1.0")
    lines = done.out.splitlines()
    assert lines[1] == "# base: the first 1 step and 1 layer, in the store"
    assert lines[2] == "FROM fmt/base:1"
    assert lines[4] == "LABEL org.opencontainers.image.title=fmt"


@pytest.mark.parametrize("codec", CODECS)
def test_what_was_copied_is_counted_by_what_the_layer_adds(
    ocitool: Command, tmp_path: Path, codec: Compression
) -> None:
    nodes = [folder("srv"), file("srv/a", 1000), file("srv/b", 200), file("srv/a", 500), gone("x")]
    lines = written(ocitool, tmp_path, image_of(nodes, steps=[COPY], codec=codec))
    assert lines[-2:] == ["", "COPY # 2 files, 700 B, layer 1 /srv"]


def test_a_guess_of_several_lines_is_marked_above_them(ocitool: Command, tmp_path: Path) -> None:
    step = "|2 A=1 /bin/sh -c a    && b"
    lines = written(ocitool, tmp_path, image_of([file("a", 1)], steps=[step]))
    assert lines[-4:] == [
        "ARG A=1  # ? where it is declared is not recorded",
        "# ? its build arguments cannot be told apart",
        "RUN a \\",
        "    && b",
    ]


def test_a_history_that_does_not_fit_says_so(ocitool: Command, tmp_path: Path) -> None:
    image = image_of([file("a", 1)], [file("b", 2)], steps=[COPY])
    assert written(ocitool, tmp_path, image)[2:] == [
        "# base: unknown",
        "# ? by the history 1 step made a layer, and there are 2",
        "",
        "COPY # 1 file, 1 B, layer 1 /srv  # ? which layer it made is not certain",
        "COPY # 1 file, 2 B, layer 2 /  # ? not in the history",
    ]


def test_what_only_the_configuration_says_stands_at_the_end(
    ocitool: Command, tmp_path: Path
) -> None:
    config = {"config": {"Env": ["A=b c"], "Cmd": ["x"]}, "history": []}
    assert written(ocitool, tmp_path, image_of([file("a", 1)], config=config))[-4:] == [
        "",
        "# in the configuration, and not in the history:",
        'ENV A="b c"',
        'CMD ["x"]',
    ]


def test_what_buildkit_never_records_is_said_once(ocitool: Command, tmp_path: Path) -> None:
    steps = ["COPY / /app # buildkit", "RUN /bin/sh -c make # buildkit"]
    image = image_of([file("a", 1)], [file("b", 1)], steps=steps)
    assert written(ocitool, tmp_path, image)[1:] == [
        '# "# ?" marks what the history does not record',
        "# --mount of RUN is never recorded by BuildKit",
        "# base: unknown",
        "",
        "COPY / /app  # ? whether --from was given is not recorded",
        "RUN make",
    ]


def test_annotations_name_the_base(ocitool: Command, tmp_path: Path) -> None:
    notes = {
        "org.opencontainers.image.base.name": "docker.io/library/debian:12",
        "org.opencontainers.image.base.digest": f"sha256:{HEX}",
    }
    image = image_of([file("a", 1)], manifest={"annotations": notes})
    assert written(ocitool, tmp_path, image)[2:4] == [
        "# ? which of the steps below are those of the base is not recorded",
        f"FROM docker.io/library/debian:12@sha256:{HEX}",
    ]


def test_text_of_the_history_controls_no_terminal(ocitool: Command, tmp_path: Path) -> None:
    steps = ["/bin/sh -c \x1b[31mred", "RUN /bin/sh -c a\n\tb\x1b # buildkit", "o\u202ether\n"]
    image = image_of(*([file(name, 1)] for name in "abc"), steps=steps)
    lines = written(ocitool, tmp_path, image)
    assert lines[-6:] == [
        "RUN \\x1b[31mred",
        "RUN <<EOF",
        "a",
        "\tb\\x1b",
        "EOF",
        "COPY # 1 file, 1 B, layer 3 /  # ? o\\u202ether",
    ]


def test_layers_of_a_registry_are_not_fetched(ocitool: Command) -> None:
    with EmulatedRegistry() as registry:
        image = image_of([file("srv/a", 1)], steps=[COPY])
        registry.add_image("x/y", image, "1")
        for layer in image.layers:
            del registry.state.blobs["x/y"][layer.digest]
        done = ocitool("dockerfile", f"docker://{registry.host}/x/y:1")
    assert done.code == 0, done.err
    size = f"{image.layers[0].size / 1000:.1f} kB"
    assert done.out.splitlines()[-1] == f"COPY # layer 1, {size} stored /srv"


def test_a_layer_that_is_damaged_is_only_named(ocitool: Command, tmp_path: Path) -> None:
    image = image_of([file("srv/a", 1)], steps=[COPY], codec="gzip")
    layout = write_layout(tmp_path / "x", {NAME: image})
    (layout / blob_path(image.layers[0])).write_bytes(b"x" * image.layers[0].size)
    done = ocitool("dockerfile", f"oci:{layout}")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1].startswith("COPY # layer 1, ")


def test_one_that_is_missing_too(ocitool: Command, tmp_path: Path) -> None:
    image = image_of([file("srv/a", 1)], steps=[COPY])
    layout = write_layout(tmp_path / "x", {NAME: image}, without=[image.layers[0].digest])
    done = ocitool("dockerfile", f"oci:{layout}")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1].startswith("COPY # layer 1, ")


def test_json_tells_each_line_with_its_guess(ocitool: Command, tmp_path: Path) -> None:
    image = small_image([file("a", 7)], steps=["bazel build ..."])
    layout = write_layout(tmp_path / "layout", {NAME: image})
    value: Any = ocitool("dockerfile", f"oci:{layout}", "--json").json
    assert value["base"] is None
    assert value["lines"] == [
        {
            "text": "COPY # 1 file, 7 B, layer 1 /",
            "guess": "bazel build ...",
            "layer": 1,
            "files": 1,
            "bytes": 7,
            "created_by": "bazel build ...",
        }
    ]
    assert [line["text"] for line in value["unrecorded"]] == ['CMD ["/bin/true"]']


def test_an_artifact_has_none(ocitool: Command, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {NAME: image_of()})
    assert ocitool("dockerfile", f"oci:{layout}", "--platform", "linux/s390x").code == 4
    assert ocitool("dockerfile", f"oci:{layout}:none").code == 4


def test_a_guess_is_yellow_on_a_terminal(ocitool: Command, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {NAME: image_of([file("a", 1)], steps=["bazel"])})
    shown = ocitool.on_terminal("dockerfile", f"oci:{layout}")
    assert "COPY # 1 file, 1 B, layer 1 /  \x1b[33m# ? bazel\x1b[0m" in shown
