"""pull through mirrors: registries.conf of podman and hosts.toml of containerd, read only."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ocitool.errors import NotFound, Refused, UsageError
from ocitool.oci import Reference
from ocitool.operations.pull_mirrored import MirroredPulls
from ocitool.places.layout import Layout, Writing
from ocitool.places.registry import Registries
from ocitool.places.registry.mirrors.finding import find_endpoints
from tests.places.registry.homes import entry
from tests.places.registry.pushes import options
from tests.support.certificates import Authority
from tests.support.images import build_artifact, build_image
from tests.support.registry import Access, EmulatedRegistry, Quirks
from tests.support.registry_faults import FlippedByte, Status
from tests.support.stores import Listener

IMAGE = build_image([{"a": b"1"}, {"b": b"2" * 5000}])
NEWER = build_image([{"a": b"9"}])
NAME = "team/app"
NOWHERE = "127.0.0.1:1"


class Remarks(Listener):
    """Also remembers remarks."""

    def __init__(self) -> None:
        super().__init__()
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        self.remarks.append(text)


@dataclass
class Machine:
    """A home folder with configuration, and a store to pull into."""

    folder: Path
    observer: Remarks = field(default_factory=Remarks)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / ".config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def podman(self, prefix: str, *mirrors: str, more: str = "") -> None:
        tables = "".join(f"[[registry.mirror]]\n{mirror}\n" for mirror in mirrors)
        self.write(
            "containers/registries.conf", f'[[registry]]\nprefix = "{prefix}"\n{more}\n{tables}'
        )

    def containerd(self, registry: str, text: str) -> None:
        self.write(f"containerd/certs.d/{registry}/hosts.toml", text)

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.folder)}

    @contextlib.contextmanager
    def pulls(self, *, asks_mirrors: bool = True) -> Iterator[tuple[MirroredPulls, Writing]]:
        with (
            Layout.create(str(self.folder / "store"), store=True) as layout,
            Registries(options(), environment=self.environment) as registries,
            Writing(layout, keep=True) as writing,
        ):
            yield MirroredPulls(registries, self.observer, asks_mirrors=asks_mirrors), writing

    def pull(self, name: str, *, asks_mirrors: bool = True) -> str:
        """Pull an image; return its digest."""
        reference = Reference.parse(name)
        with self.pulls(asks_mirrors=asks_mirrors) as (pulls, writing):
            report = pulls.pull(writing, [reference])
        assert [image.names for image in report.images] == [(reference.name,)]
        return str(report.images[0].digest)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def origin() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as registry:
        registry.add_image(NAME, IMAGE, "1")
        yield registry


@pytest.fixture
def mirror() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry() as registry:
        registry.add_image(f"cache/{NAME}", IMAGE, "1")
        yield registry


DIGEST = str(IMAGE.descriptor.digest)


class TestPodman:
    def test_a_mirror_is_asked_first_and_told(
        self, machine: Machine, origin: EmulatedRegistry, mirror: EmulatedRegistry
    ) -> None:
        machine.podman(origin.host, f'location = "{mirror.host}/cache"')
        assert machine.pull(f"{origin.host}/{NAME}:1") == DIGEST
        assert origin.log == []
        assert machine.observer.remarks == [
            f"{origin.host}/{NAME}:1 came from {mirror.host}/cache/{NAME}"
        ]

    def test_without_mirrors_the_registry_is_asked(
        self, machine: Machine, origin: EmulatedRegistry, mirror: EmulatedRegistry
    ) -> None:
        machine.podman(origin.host, f'location = "{mirror.host}/cache"')
        assert machine.pull(f"{origin.host}/{NAME}:1", asks_mirrors=False) == DIGEST
        assert (mirror.log, machine.observer.remarks) == ([], [])

    @pytest.mark.parametrize("case", ["silent", "without it", "refuses", "damaged", "broken"])
    def test_a_mirror_that_fails_is_passed_over(
        self, machine: Machine, origin: EmulatedRegistry, mirror: EmulatedRegistry, case: str
    ) -> None:
        location = f"{mirror.host}/cache"
        if case == "silent":
            location = f"{NOWHERE}/cache"
        elif case == "without it":
            location = mirror.host
        elif case == "damaged":
            mirror.fail("GET", "/blobs/", FlippedByte(3), times=20)
        else:
            mirror.fail("*", "/v2/", Status(status=401 if case == "refuses" else 500), times=20)
        machine.podman(origin.host, f'location = "{location}"')
        assert machine.pull(f"{origin.host}/{NAME}:1") == DIGEST
        said = machine.observer.remarks if case == "without it" else machine.observer.warnings
        assert any(f"the mirror {location}/{NAME} was passed over" in text for text in said)
        assert not any("came from" in text for text in machine.observer.remarks)

    def test_a_mirror_that_does_not_answer_is_asked_once_a_run(
        self, machine: Machine, origin: EmulatedRegistry
    ) -> None:
        machine.podman(origin.host, f'location = "{NOWHERE}/cache"')
        origin.add_image(NAME, NEWER, "2")
        with machine.pulls() as (pulls, writing):
            for tag in ("1", "2"):
                pulls.pull(writing, [Reference.parse(f"{origin.host}/{NAME}:{tag}")])
        assert len(machine.observer.warnings) == 1

    def test_the_last_failure_is_that_of_the_registry(
        self, machine: Machine, origin: EmulatedRegistry, mirror: EmulatedRegistry
    ) -> None:
        machine.podman(origin.host, f'location = "{mirror.host}/cache"')
        with pytest.raises(NotFound, match=f"in {origin.host}/{NAME}"):
            machine.pull(f"{origin.host}/{NAME}:none")

    def test_tags_are_listed_by_the_mirror(
        self, machine: Machine, origin: EmulatedRegistry, mirror: EmulatedRegistry
    ) -> None:
        machine.podman(origin.host, f'location = "{mirror.host}/cache"')
        with machine.pulls() as (pulls, _):
            assert pulls.tags(Reference.parse(f"{origin.host}/{NAME}")) == ["1"]
        assert origin.log == []

    def test_a_location_takes_the_place_of_the_registry(
        self, machine: Machine, mirror: EmulatedRegistry
    ) -> None:
        machine.podman("docker.io", more=f'location = "{mirror.host}/cache"')
        assert machine.pull(f"{NAME}:1") == DIGEST

    def test_a_blocked_registry_is_refused(self, machine: Machine) -> None:
        machine.podman("reg.example", more="blocked = true")
        with pytest.raises(Refused, match=r"reg\.example/a is blocked by .*registries\.conf"):
            machine.pull("reg.example/a:1")

    def test_an_insecure_mirror_needs_no_certificate_that_is_known(
        self, machine: Machine, origin: EmulatedRegistry, tmp_path: Path
    ) -> None:
        tls = Authority(tmp_path / "authority").server().serve()
        with EmulatedRegistry(tls=tls) as mirror:
            mirror.add_image(NAME, IMAGE, "1")
            machine.podman(origin.host, f'location = "{mirror.host}"\ninsecure = true')
            assert machine.pull(f"{origin.host}/{NAME}:1") == DIGEST
            assert origin.log == []
            machine.podman(origin.host, f'location = "{mirror.host}"')
            (machine.folder / "store").rename(machine.folder / "old")
            assert machine.pull(f"{origin.host}/{NAME}:1") == DIGEST
            assert "certificate" in machine.observer.warnings[-1]

    @pytest.mark.parametrize(
        ("settings", "name", "expected"),
        [
            ("", ":1", True),
            ("", f"@{DIGEST}", True),
            ('pull-from-mirror = "digest-only"', ":1", False),
            ('pull-from-mirror = "digest-only"', f"@{DIGEST}", True),
            ('pull-from-mirror = "tag-only"', ":1", True),
            ('pull-from-mirror = "tag-only"', f"@{DIGEST}", False),
        ],
    )
    def test_a_mirror_for_digests_or_for_tags_only(
        self, machine: Machine, settings: str, name: str, expected: bool
    ) -> None:
        machine.podman("reg.example", f'location = "mirror.example"\n{settings}')
        assert (_found(machine, f"reg.example/a{name}")[0] == "mirror.example/a") is expected

    @pytest.mark.parametrize(
        ("prefix", "name", "expected"),
        [
            ("docker.io", "app", "m.example/x/library/app"),
            ("docker.io/library", "app", "m.example/x/app"),
            ("docker.io/library/app", "app", "m.example/x"),
            ("docker.io/lib", "app", None),
            ("*.example.com", "a.b.example.com:5000/c/d", "m.example/x/c/d"),
            ("*.example.com", "example.com/c/d", None),
            ("reg.example:5000", "reg.example:5000/c", "m.example/x/c"),
            ("reg.example", "reg.example:5000/c", None),
        ],
    )
    def test_which_images_a_prefix_covers(
        self, machine: Machine, prefix: str, name: str, expected: str | None
    ) -> None:
        machine.podman(prefix, 'location = "m.example/x"')
        found = _found(machine, name)
        assert found[0] == expected
        assert len(found) == (1 if expected is None else 2)

    def test_the_longest_prefix_and_the_last_file_count(self, machine: Machine) -> None:
        machine.podman("reg.example", 'location = "one.example"')
        more = '[[registry]]\nprefix = "reg.example/{}"\n[[registry.mirror]]\n'
        more += 'location = "{}.example"\n'
        machine.write("containers/registries.conf.d/1.conf", more.format("a", "two"))
        machine.write("containers/registries.conf.d/2.conf", more.format("a", "three"))
        assert _found(machine, "reg.example/a/b")[0] == "three.example/b"
        assert _found(machine, "reg.example/c")[0] == "one.example/c"

    def test_the_variable_of_podman_names_another_file(self, machine: Machine) -> None:
        path = machine.write("other.conf", '[[registry]]\nlocation = "r.example"\nblocked = true')
        variables = {**machine.environment, "CONTAINERS_REGISTRIES_CONF": str(path)}
        with pytest.raises(Refused):
            find_endpoints(Reference.parse("r.example/a"), variables)

    def test_a_file_that_cannot_be_read_says_so(self, machine: Machine) -> None:
        machine.write("containers/registries.conf", "[[registry]\n")
        with pytest.raises(UsageError, match="is not TOML") as caught:
            machine.pull("reg.example/a:1")
        assert "--no-mirrors" in str(caught.value.hint)


class TestContainerd:
    def test_a_host_is_asked_first_and_told_for_which_registry(
        self, machine: Machine, origin: EmulatedRegistry, mirror: EmulatedRegistry
    ) -> None:
        mirror.add_image(NAME, IMAGE, "1")
        machine.containerd(
            origin.host.replace(":", "_") + "_",
            f'server = "{origin.url}"\n[host."{mirror.url}"]\ncapabilities = ["pull", "resolve"]',
        )
        assert machine.pull(f"{origin.host}/{NAME}:1") == DIGEST
        assert origin.log == []
        assert all(one.target.endswith(f"?ns={origin.host}") for one in mirror.requests("GET"))

    @pytest.mark.parametrize(
        ("url", "settings", "root", "path"),
        [
            ("https://m.example", "", "/v2", "a/b"),
            ("https://m.example/v2", "", "/v2", "a/b"),
            ("https://m.example/x", "", "/x/v2", "a/b"),
            ("https://m.example/x", "override_path = true", "/x", "a/b"),
            ("https://m.example/v2/hub", "override_path = true", "/v2", "hub/a/b"),
        ],
    )
    def test_where_the_interface_of_a_host_begins(
        self, machine: Machine, url: str, settings: str, root: str, path: str
    ) -> None:
        machine.containerd("reg.example", f'[host."{url}"]\n{settings}')
        first, last = find_endpoints(Reference.parse("reg.example/a/b"), machine.environment)
        assert first is not None
        assert last is None
        assert (first.domain, first.root, first.path) == ("m.example", root, path)
        assert first.asks_for == "reg.example"

    @pytest.mark.parametrize(
        ("capabilities", "name", "expected"),
        [
            ('["pull"]', ":1", False),
            ('["pull"]', f"@{DIGEST}", True),
            ('["pull", "resolve"]', ":1", True),
            ('["push"]', ":1", False),
        ],
    )
    def test_what_a_host_is_capable_of(
        self, machine: Machine, capabilities: str, name: str, expected: bool
    ) -> None:
        text = f'[host."https://m.example"]\ncapabilities = {capabilities}'
        machine.containerd("_default", text)
        found = _found(machine, f"reg.example/a{name}")
        assert (found[0] == "m.example/a") is expected

    def test_a_host_by_http_and_one_with_an_authority_of_its_own(
        self, machine: Machine, origin: EmulatedRegistry, tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path / "authority")
        with EmulatedRegistry(tls=authority.server().serve()) as mirror:
            mirror.add_image(NAME, IMAGE, "1")
            text = (
                f'[host."http://{NOWHERE}"]\n[host."{mirror.url}"]\nca = "{authority.certificate}"'
            )
            machine.containerd(origin.host, text)
            assert machine.pull(f"{origin.host}/{NAME}:1") == DIGEST
            assert origin.log == []


def test_a_credential_goes_to_no_other_host(machine: Machine, tmp_path: Path) -> None:
    access = Access(scheme="basic", users={"ann": "canary-s3cret"})
    with (
        EmulatedRegistry(Quirks(access=access)) as origin,
        EmulatedRegistry(Quirks(access=access)) as mirror,
    ):
        origin.add_image(NAME, IMAGE, "1")
        mirror.add_image(NAME, IMAGE, "1")
        machine.podman(origin.host, f'location = "{mirror.host}"')
        file = tmp_path / ".docker" / "config.json"
        file.parent.mkdir()
        one = entry("ann", "canary-s3cret")
        file.write_text(f'{{"auths": {{"{origin.host}": {{"auth": "{one["auth"]}"}}}}}}')
        assert machine.pull(f"{origin.host}/{NAME}:1") == DIGEST
        assert not any("authorization" in logged.headers for logged in mirror.log)
        file.write_text(f'{{"auths": {{"{mirror.host}": {{"auth": "{one["auth"]}"}}}}}}')
        seen = len(origin.log)
        assert machine.pull(f"{origin.host}/{NAME}:1") == DIGEST
        assert len(origin.log) == seen


def test_what_is_attached_has_the_names_of_the_registry(
    machine: Machine, origin: EmulatedRegistry, mirror: EmulatedRegistry
) -> None:
    tag = f"sha256-{IMAGE.descriptor.digest.hex}.sig"
    mirror.add_image(f"cache/{NAME}", build_image([{"s": b"s"}]), tag)
    mirror.add_image(f"cache/{NAME}", build_artifact(IMAGE.descriptor))
    machine.podman(origin.host, f'location = "{mirror.host}/cache"')
    from ocitool.transfer.pipeline import TransferOptions

    with machine.pulls() as (pulls, writing):
        reference = Reference.parse(f"{origin.host}/{NAME}:1")
        report = pulls.pull(writing, [reference], TransferOptions(attached=True))
    assert report.attached >= 1
    with Layout.existing(str(machine.folder / "store")) as layout:
        names = {name for root in layout.roots() for name in root.names}
    assert f"{origin.host}/{NAME}:{tag}" in names


def _found(machine: Machine, name: str) -> list[str | None]:
    found = find_endpoints(Reference.parse(name), machine.environment)
    return [endpoint.name if endpoint is not None else None for endpoint in found]
