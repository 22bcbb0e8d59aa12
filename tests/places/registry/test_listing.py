"""Tags and repositories, page by page; and deleting."""

from pathlib import Path

import pytest

from ocitool.errors import AccessDenied, IntegrityError, LimitExceeded, NotFound, Refused
from ocitool.places.registry.http.request import Request
from ocitool.places.registry.listing import catalog, delete, tags
from ocitool.places.registry.paging import IncompleteList
from tests.places.registry.reading import LIMITS, NAME, Reader, reading
from tests.support.docker_registry import running_registry
from tests.support.images import BuiltImage, build_image
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Status
from tests.support.registry_quirks import Access
from tests.support.trap import Trap

IMAGE = build_image()


def filled(*names: str, **quirks: object) -> EmulatedRegistry:
    registry = EmulatedRegistry(Quirks(**quirks))  # type: ignore[arg-type]
    for name in names:
        registry.add_image(NAME, IMAGE, name)
    return registry


class TestTags:
    def test_tags_are_sorted_and_each_comes_once(self) -> None:
        with filled("b", "a", "c", tags="duplicates") as registry, reading(registry.host) as reader:
            assert tags(reader.session) == ["a", "b", "c"]

    def test_all_pages_are_read(self) -> None:
        names = [f"t{number:02}" for number in range(25)]
        with filled(*names, page_size=10) as registry, reading(registry.host) as reader:
            assert tags(reader.session) == names
            assert len(registry.requests("GET", "/tags/list")) == 3

    def test_no_number_is_asked_for_unless_the_user_names_one(self) -> None:
        with filled("a") as registry, reading(registry.host) as reader:
            tags(reader.session)
            tags(reader.session, 7)
            tags(reader.session, 5000)
            targets = [one.target.partition("?")[2] for one in registry.requests("GET", "/tags/")]
            assert targets == ["", "n=7", ""]

    def test_no_more_pages_are_read_than_are_wanted(self) -> None:
        names = [f"t{number:02}" for number in range(25)]
        with filled(*names, page_size=5) as registry, reading(registry.host) as reader:
            assert tags(reader.session, 7) == names[:7]
            assert len(registry.requests("GET", "/tags/list")) == 2

    def test_null_is_no_tags(self) -> None:
        with filled("a", tags="null") as registry, reading(registry.host) as reader:
            assert tags(reader.session) == []

    def test_a_page_that_leads_to_itself_ends_the_list(self) -> None:
        with filled("a", "b", tags="endless") as registry, reading(registry.host) as reader:
            assert tags(reader.session) == ["a", "b"]

    def test_a_list_is_not_followed_to_another_host(self) -> None:
        with Trap() as trap:
            link = f"{trap.url}/v2/{NAME}/tags/list?last=a"
            quirks = Quirks(tags="foreign", foreign_link=link, access=Access(scheme="basic"))
            with EmulatedRegistry(quirks) as registry:
                registry.add_image(NAME, IMAGE, "a")
                with reading(registry.host, username="user", password="pass") as reader:
                    assert tags(reader.session) == ["a"]
            assert trap.log == []

    @pytest.mark.parametrize(
        "link",
        [
            '</v2/a/b/tags/list?last=a>; rel="next"',
            "</v2/a/b/tags/list?last=a>;rel=next",
            '<?last=a>; rel="next"',
            '</v2/x>; rel="prev", </v2/a/b/tags/list?last=a>; rel="next"',
            '</v2/a/b/tags/list?last=a>; title="x"; rel=next',
        ],
    )
    def test_links_are_read_in_all_their_forms(self, link: str) -> None:
        with Trap(200, b'{"tags": ["a"]}', {"Link": link}) as trap, reading(trap.host) as reader:
            assert tags(reader.session) == ["a"]
            wanted = [f"/v2/{NAME}/tags/list", f"/v2/{NAME}/tags/list?last=a"]
            assert [one.target for one in trap.requests("GET")] == wanted

    @pytest.mark.parametrize(
        "link", ['</v2/x>; rel="prev"', "</v2/x>; rel=nextpage", "</v2/x>", "rel=next", ""]
    )
    def test_other_links_lead_nowhere(self, link: str) -> None:
        with Trap(200, b'{"tags": ["a"]}', {"Link": link}) as trap, reading(trap.host) as reader:
            assert tags(reader.session) == ["a"]
            assert len(trap.requests("GET")) == 1

    @pytest.mark.parametrize(
        "link",
        [
            # Behind a proxy that speaks TLS for them: Harbor, Nexus.
            '<https://{host}{path}?{query}>; rel="next"',
            '<http://{host}:1{path}?{query}>; rel="next"',
            '<http://harbor-core:8080{path}?{query}>; rel="next"',
            # Nexus, where a port has a repository of its own.
            '</repository/docker{path}?{query}>; rel="next"',
            # Old Quay; GHCR.
            '{path}?{query}; rel="next"',
            '<{path}?n=0&{query}>; rel="next"',
            '<{path}?{query}&n=0>; rel="next"',
            # Wrong beyond repair: the last entry says where it goes on.
            "<http://[::bad/>; rel=next",
            "<{path}>; rel=next",
            None,
        ],
    )
    def test_a_list_is_read_to_its_end_whatever_a_link_says(self, link: str | None) -> None:
        names = [f"t{number:02}" for number in range(25)]
        with filled(*names, page_size=10, link=link) as registry, reading(registry.host) as reader:
            assert tags(reader.session) == names
            assert all(one.host == registry.host for one in registry.requests("GET"))
            assert not registry.requests("GET", r"[?&]n=0(&|$)")
            for name in ("r/2", "r/1", NAME):
                registry.add_image(name, IMAGE, "1")
            assert catalog(reader.session) == [NAME, "r/1", "r/2"]

    def test_a_list_that_breaks_off_gives_what_came_before(self) -> None:
        names = [f"t{number:02}" for number in range(25)]
        for status in (404, 503):
            with filled(*names, page_size=10) as registry, reading(registry.host) as reader:
                registry.fail("GET", "last=", Status(status=status), times=99)
                with pytest.raises(IncompleteList, match=f"answered {status}") as caught:
                    tags(reader.session)
                assert caught.value.found == tuple(names[:10])
        headers = {"Link": "<http://[::bad/>; rel=next"}
        with (
            Trap(200, b'{"tags": []}', headers) as trap,
            reading(trap.host) as reader,
            pytest.raises(IncompleteList, match="not an address"),
        ):
            tags(reader.session)

    def test_what_can_be_no_tag_is_left_out_and_told(self) -> None:
        body = b'{"tags": ["a", "b/c", "", "\\u001b"]}'
        with Trap(200, body) as trap, reading(trap.host) as reader:
            assert tags(reader.session) == ["a"]
            assert len(reader.warnings) == 3
            assert "'b/c'" in " ".join(reader.warnings)

    def test_pages_without_end_come_to_one(self) -> None:
        limits = LIMITS.with_limit("pages", 3)
        names = [f"t{number:02}" for number in range(9)]
        with (
            filled(*names, page_size=1) as registry,
            reading(registry.host, limits=limits) as reader,
            pytest.raises(LimitExceeded, match="more than 3 pages"),
        ):
            tags(reader.session)

    def test_a_page_without_end_is_not_read(self) -> None:
        limits = LIMITS.with_limit("tag_page_bytes", 1000)
        body = b'{"tags": ["' + b"a" * 200_000 + b'"]}'
        with (
            Trap(200, body) as trap,
            reading(trap.host, limits=limits) as reader,
            pytest.raises(LimitExceeded, match="larger than 1000 bytes"),
        ):
            tags(reader.session)

    @pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b'"a"', b"[" * 100_000])
    def test_what_is_no_list_is_refused(self, body: bytes) -> None:
        with (
            Trap(200, body) as trap,
            reading(trap.host) as reader,
            pytest.raises(IntegrityError),
        ):
            tags(reader.session)

    def test_tags_that_are_no_text_are_passed_over(self) -> None:
        with Trap(200, b'{"tags": ["a", 1, null, {}]}') as trap, reading(trap.host) as reader:
            assert tags(reader.session) == ["a"]

    def test_a_web_page_is_no_list(self) -> None:
        with (
            filled(html=True) as registry,
            reading(registry.host) as reader,
            pytest.raises(IntegrityError, match="web page"),
        ):
            tags(reader.session)

    def test_a_repository_that_is_absent_is_not_found(self) -> None:
        with (
            EmulatedRegistry() as registry,
            reading(registry.host) as reader,
            pytest.raises(NotFound),
        ):
            tags(reader.session)

    def test_debians_registry_lists_its_tags(self, tmp_path: Path) -> None:
        with running_registry(tmp_path) as registry, reading(registry.host) as reader:
            push(reader, "b", "a")
            assert tags(reader.session) == ["a", "b"]
            assert tags(reader.session, 1) == ["a"]


def push(reader: Reader, *names: str, image: BuiltImage = IMAGE) -> None:
    """Put an image into a registry by plain requests."""
    session = reader.session
    scopes = session.scopes("pull,push")
    for digest, data in image.blobs.items():
        if digest != image.descriptor.digest:
            opened = session.answer(Request("POST", session.url("blobs/uploads/"), scopes))
            url = f"{opened.headers['location']}&digest={digest}"
            assert session.answer(Request("PUT", url, scopes, body=data)).status == 201
    for name in names:
        headers = {"Content-Type": image.descriptor.media_type}
        url = session.url(f"manifests/{name}")
        found = session.answer(Request("PUT", url, scopes, headers, image.manifest))
        assert found.status == 201


class TestCatalog:
    def test_repositories_are_listed(self) -> None:
        with EmulatedRegistry(Quirks(page_size=2)) as registry, reading(registry.host) as reader:
            for name in ("c/d", "a", "b/c/d"):
                registry.add_image(name, IMAGE, "1")
            assert catalog(reader.session) == ["a", "b/c/d", "c/d"]
            assert catalog(reader.session, 1) == ["a"]

    @pytest.mark.parametrize("status", [401, 403, 404, 405])
    def test_a_registry_that_does_not_tell_is_understood(self, status: int) -> None:
        with EmulatedRegistry() as registry, reading(registry.host) as reader:
            registry.fail("GET", "_catalog", Status(status=status), times=9)
            with pytest.raises(Refused, match="does not list") as caught:
                catalog(reader.session)
            assert caught.value.hint is not None

    def test_credentials_that_are_refused_are_told_from_a_registry_that_does_not_tell(self) -> None:
        with (
            EmulatedRegistry(Quirks(access=Access(scheme="basic"))) as registry,
            reading(registry.host, username="user", password="wrong") as reader,
            pytest.raises(AccessDenied),
        ):
            catalog(reader.session)

    def test_debians_registry_lists_its_repositories(self, tmp_path: Path) -> None:
        with running_registry(tmp_path) as registry, reading(registry.host) as reader:
            push(reader, "1")
            assert catalog(reader.session) == [NAME]
            assert catalog(reader.session, 1000) == [NAME]


class TestDelete:
    def test_a_tag_is_deleted_alone(self) -> None:
        with filled("a", "b") as registry, reading(registry.host) as reader:
            assert delete(reader.session, "a", what="x:a")
            assert tags(reader.session) == ["b"]

    def test_what_is_absent_is_told(self) -> None:
        with filled("a") as registry, reading(registry.host) as reader:
            assert not delete(reader.session, "zzz", what="x:zzz")

    def test_a_registry_where_it_is_switched_off_says_so(self) -> None:
        with (
            filled("a", delete_405=True) as registry,
            reading(registry.host) as reader,
            pytest.raises(Refused, match="switched off"),
        ):
            delete(reader.session, "a", what="x:a")

    def test_a_lack_of_rights_is_another_matter(self) -> None:
        with filled("a") as registry, reading(registry.host) as reader:
            registry.fail("DELETE", "manifests", Status(status=403), times=9)
            with pytest.raises(AccessDenied):
                delete(reader.session, "a", what="x:a")

    def test_debians_registry_deletes_images_and_no_tags(self, tmp_path: Path) -> None:
        with running_registry(tmp_path) as registry, reading(registry.host) as reader:
            push(reader, "a", "b")
            with pytest.raises(Refused, match="deletes no tags") as caught:
                delete(reader.session, "a", what="x:a")
            assert caught.value.hint is not None
            assert "--by-digest" in caught.value.hint
            assert delete(reader.session, str(IMAGE.descriptor.digest), what="x")
            assert tags(reader.session) == []

    def test_debians_registry_may_have_it_switched_off(self, tmp_path: Path) -> None:
        with (
            running_registry(tmp_path, delete=False) as registry,
            reading(registry.host) as reader,
        ):
            push(reader, "a")
            with pytest.raises(Refused, match="switched off"):
                delete(reader.session, str(IMAGE.descriptor.digest), what="x")
