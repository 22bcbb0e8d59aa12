"""What the screen asks of an image, without the screen."""

import random
from pathlib import Path

import pytest

from ocitool.cli.explore.listing import Listing
from ocitool.cli.explore.look import Look
from ocitool.concurrency import Stop
from ocitool.errors import Refused, UsageError
from ocitool.events import SILENT
from ocitool.images.opening import one_root, open_source
from ocitool.inside.comparing import Image
from ocitool.places.registry import Registries
from ocitool.places.registry.options import RegistryOptions
from tests.cli.explore.driving import look_at
from tests.inside.page_data import sinful_image
from tests.support import chunked_layers
from tests.support.chunked_layers import chunked_image, chunked_layer
from tests.support.images import Compression
from tests.support.registry import EmulatedRegistry
from tests.support.root_files import folder, program
from tests.support.small_images import CODECS, FORMS, Form, file, write_image


def node(listing: Listing, path: str, *, hidden: bool = False) -> int:
    return listing.way(path, hidden=hidden)[-1]


def paths(look: Look, what: str, layer: int) -> set[str]:
    """Return the paths of what is no folder."""
    listing = look.listing(what, layer)
    nodes = range(1, len(listing.columns))
    return {listing.path(one) for one in nodes if not listing.is_folder(one)}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_every_form_is_read_and_written(
    tmp_path: Path, codec: Compression, form: Form
) -> None:
    path = write_image(tmp_path, sinful_image(codec), form)
    with look_at(path) as look:
        assert next(line.instruction for line in look.outline()) == "COPY . /"
        look.scan(SILENT)
        files, gone = look.listing("files", 0), look.listing("hidden", 0)
        member = look.member(files, node(files, "opt/model"))
        assert look.beginning(member, 20, Stop()) == (b"/opt/model\n" * 2)[:20]
        look.extract(member, str(tmp_path / "out"), Stop())
        hidden = look.member(gone, node(gone, "cache/x", hidden=True))
        assert look.beginning(hidden, 1000, Stop()) == (b"cache/x\n" * 100)[:500]
        with pytest.raises(Refused, match="is there already"):
            look.extract(hidden, str(tmp_path / "out"), Stop())
    assert (tmp_path / "out").read_bytes() == (b"/opt/model\n" * 400)[:4000]


def test_the_layers_are_known_before_they_are_read(tmp_path: Path) -> None:
    with look_at(write_image(tmp_path, sinful_image())) as look:
        lines = look.outline()
        assert look.inside is None
    steps = ["COPY . /", "RUN </script>", "RUN rm", "RUN chown"]
    assert [(line.number, line.instruction) for line in lines] == list(enumerate(steps, 1))
    assert all(line.stored > 0 and line.files is None for line in lines)


def test_layers_and_their_listings(tmp_path: Path) -> None:
    with look_at(write_image(tmp_path, sinful_image())) as look:
        with pytest.raises(UsageError):
            look.listing("files", 0)
        look.outline()
        look.scan(SILENT)
        look.compare_copies()
        assert [(line.files, line.hidden) for line in look.layers()] == [
            (5510, 5510),
            (4027, 4020),
            (12, 1),
            (4000, 0),
        ]
        assert paths(look, "added", 3) == {"</script>\udcff\x1b", "twice"}
        assert paths(look, "changed", 4) == {"opt/model"}
        assert paths(look, "removed", 3) == {"cache/x", "cache/y"}
        assert paths(look, "hidden", 3) == {"twice"}
        assert look.problems()[0].startswith("layer 2: f: members lie below it")


def test_of_a_member_that_comes_twice_each_is_read(tmp_path: Path) -> None:
    with look_at(write_image(tmp_path, sinful_image())) as look:
        look.scan(SILENT)
        live, gone = look.listing("files", 0), look.listing("hidden", 0)
        one = look.member(gone, node(gone, "twice", hidden=True))
        other = look.member(live, node(live, "twice"))
        assert (one.size, other.size) == (1, 2)


def test_a_further_name_of_a_file_leads_to_its_content(tmp_path: Path) -> None:
    with look_at(write_image(tmp_path, sinful_image())) as look:
        look.scan(SILENT)
        listing = look.listing("added", 1)
        member = look.member(listing, node(listing, "opt/b"))
        assert look.beginning(member, 12, Stop()) == b"opt/a\nopt/a\n"
        with pytest.raises(UsageError, match="/opt/c is not a file"):
            look.member(listing, node(listing, "opt/c"))


def test_a_search_is_of_paths_and_any_text_is_one(tmp_path: Path) -> None:
    with look_at(write_image(tmp_path, sinful_image())) as look:
        look.scan(SILENT)
        files = look.listing("files", 0)

        def found(pattern: str) -> int:
            return look.search(files, pattern, Stop()).file_count

        assert [found(one) for one in ("OPT/", "^f", "r$", "(", "[", "t.*l$")] == [1, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("form", chunked_layers.FORMS)
def test_of_a_registrys_image_only_what_is_shown_is_fetched(form: chunked_layers.Form) -> None:
    blob = random.Random(1).randbytes(2_000_000)
    members = [folder("etc"), file("etc/small", 300), program("big", blob)]
    image = chunked_image(chunked_layer(form, members, chunk=1 << 20))
    with EmulatedRegistry() as registry:
        registry.add_image("a/b", image, "1")
        place = f"docker://{registry.host}/a/b:1"
        with (
            Registries(RegistryOptions(plain_http=True), environment={}) as registries,
            open_source(place, registries=registries) as opened,
        ):
            look = Look(Image(source=opened.source, root=one_root(opened)), title="remote")
            look.outline()
            look.scan(SILENT)
            files = look.listing("files", 0)
            member = look.member(files, node(files, "etc/small"))
            assert look.beginning(member, 300, Stop()) == file("etc/small", 300).data
        digest = str(image.layers[0].digest)
        sent = sum(one.sent_bytes for one in registry.requests("GET", digest))
    assert 0 < sent < image.layers[0].size / 20
