"""registry tags, catalog, digest and manifest: what they print, and how they fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.command import Command
from tests.support.images import build_image
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Status

IMAGE = build_image()
DIGEST = str(IMAGE.descriptor.digest)


@pytest.fixture
def run(tmp_path: Path) -> Command:
    return Command(tmp_path / "s", tmp_path)


@pytest.fixture
def registry() -> Iterator[EmulatedRegistry]:
    with EmulatedRegistry(Quirks(page_size=2)) as registry:
        for tag in ("c", "a", "b"):
            registry.add_image("x/y", IMAGE, tag)
        registry.add_image("z", IMAGE, "1")
        yield registry


def test_tags_are_printed_one_a_line(run: Command, registry: EmulatedRegistry) -> None:
    done = run("registry", "tags", f"{registry.host}/x/y")
    assert (done.code, done.out) == (0, "a\nb\nc\n")
    assert run("registry", "tags", "-n", "2", f"{registry.host}/x/y").out == "a\nb\n"


def test_tags_as_json_name_their_repository(run: Command, registry: EmulatedRegistry) -> None:
    done = run("registry", "tags", "--json", f"{registry.host}/x/y")
    assert done.json == {"repository": f"{registry.host}/x/y", "tags": ["a", "b", "c"]}


def test_a_list_that_breaks_off_is_printed_and_no_success(
    run: Command, registry: EmulatedRegistry
) -> None:
    registry.fail("GET", "last=b", Status(status=404), times=99)
    done = run("registry", "tags", f"{registry.host}/x/y")
    assert (done.code, done.out) == (8, "a\nb\n")
    assert "cannot be read to its end" in done.err
    done = run("pull", "--all-tags", "--json", f"{registry.host}/x/y")
    assert done.code == 8
    found: Any = done.json
    assert [name for one in found["images"] for i in one["images"] for name in i["names"]] == [
        f"{registry.host}/x/y:{tag}" for tag in "ab"
    ]
    assert "cannot be read to its end" in found["failed"][0]["error"]


def test_the_quota_that_is_left_is_told_after_a_pull(run: Command) -> None:
    with EmulatedRegistry(Quirks(hub_quota=5)) as registry:
        registry.add_image("x/y", IMAGE, "a")
        done = run("pull", f"{registry.host}/x/y:a")
        assert (done.code, f"{registry.host}: 4 of 100 pulls in 6 hours are left" in done.err) == (
            0,
            True,
        ), done.err
        assert "are left" not in run("pull", "-q", f"{registry.host}/x/y:a").err


def test_repositories_are_printed_one_a_line(run: Command, registry: EmulatedRegistry) -> None:
    assert run("registry", "catalog", registry.host).out == "x/y\nz\n"
    done = run("registry", "catalog", "--json", registry.host)
    assert done.json == {"registry": registry.host, "repositories": ["x/y", "z"]}


@pytest.mark.parametrize(
    ("prefix", "found"), [("x", "x/y\n"), ("x/", "x/y\n"), ("z", "z\n"), ("xx", "")]
)
def test_repositories_below_a_prefix(
    run: Command, registry: EmulatedRegistry, prefix: str, found: str
) -> None:
    done = run("registry", "catalog", f"{registry.host}/{prefix}")
    assert (done.code, done.out) == (0, found)


def test_a_registry_that_lists_nothing_is_explained(run: Command) -> None:
    with EmulatedRegistry(Quirks(catalog=False)) as registry:
        done = run("registry", "catalog", registry.host)
    assert done.code == 6
    assert "does not list its repositories" in done.err


def test_a_digest_is_printed_with_the_name(run: Command, registry: EmulatedRegistry) -> None:
    name = f"{registry.host}/x/y:a"
    assert run("registry", "digest", name).out == f"{registry.host}/x/y@{DIGEST}\n"
    assert run("registry", "digest", "-q", name).out == f"{DIGEST}\n"
    done = run("registry", "digest", "--json", name)
    assert done.json == {
        "name": name,
        "digest": DIGEST,
        "media_type": IMAGE.descriptor.media_type,
        "size": IMAGE.descriptor.size,
    }
    assert registry.requests("GET", "/manifests/") == []


def test_a_digest_is_waited_for(run: Command, registry: EmulatedRegistry) -> None:
    registry.fail("*", "/manifests/a", Status(status=404), times=2)
    registry.fail("*", "/v2/z/manifests", Status(status=503), times=40)
    words = ("registry", "digest", "--retry-max-wait", "0.02s", "--wait")
    done = run(*words, "10s", f"{registry.host}/x/y:a")
    assert (done.code, done.out) == (0, f"{registry.host}/x/y@{DIGEST}\n")
    assert done.err.count(f"waiting for {registry.host}/x/y:a") == 1
    assert run(*words, "0.1s", f"{registry.host}/x/y:gone").code == 4
    assert run(*words, "0.1s", f"{registry.host}/z:1").code == 8


def test_a_manifest_is_printed_byte_for_byte(run: Command, registry: EmulatedRegistry) -> None:
    done = run.run_bytes("registry", "manifest", f"{registry.host}/x/y:a")
    assert done.stdout == IMAGE.manifest


@pytest.mark.parametrize("command", ["digest", "manifest"])
def test_what_is_absent_is_not_found(
    run: Command, registry: EmulatedRegistry, command: str
) -> None:
    done = run("registry", command, f"{registry.host}/x/y:gone")
    assert (done.code, done.out) == (4, "")
    assert "gone" in done.err


def test_a_registry_in_trouble_is_unavailable(run: Command, registry: EmulatedRegistry) -> None:
    registry.fail("GET", "/tags/", Status(status=503), times=99)
    done = run("registry", "tags", "--retry-max-wait", "10ms", f"{registry.host}/x/y")
    assert done.code == 8
    assert len(registry.requests("GET", "/tags/")) == 6


def test_a_warning_of_the_registry_is_escaped_and_goes_to_stderr(run: Command) -> None:
    with EmulatedRegistry(Quirks(warning="bad \x1b[31mred")) as registry:
        registry.add_image("x/y", IMAGE, "a")
        done = run("registry", "tags", f"{registry.host}/x/y")
    assert done.out == "a\n"
    assert "says: bad" in done.err
    assert "\x1b" not in done.err


def test_the_options_of_tls_are_heeded(run: Command, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with EmulatedRegistry(tls=authority.server().serve()) as registry:
        registry.add_image("x/y", IMAGE, "a")
        name = f"{registry.host}/x/y"
        refused = run("registry", "tags", name)
        assert refused.code == 8
        assert "--ca-cert" in refused.err
        assert run("registry", "tags", "--ca-cert", authority.certificate, name).out == "a\n"
        assert run("registry", "tags", "--insecure", name).out == "a\n"
        variables = {"OCITOOL_CA_CERT": str(authority.certificate)}
        assert run("registry", "tags", name, variables=variables).out == "a\n"


def test_plain_http_to_a_port_for_tls_is_explained(run: Command, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with EmulatedRegistry(tls=authority.server().serve()) as registry:
        done = run("registry", "tags", "--plain-http", f"{registry.host}/x/y")
    assert done.code == 8
    assert "this port seems to speak TLS: leave out --plain-http" in done.err


@pytest.mark.parametrize(
    "options",
    [
        ("--plain-http", "--insecure"),
        ("--client-cert", "x"),
        ("--retry-max-wait", "soon"),
        ("-n", "0"),
    ],
)
def test_options_that_make_no_sense_are_mistakes_of_use(
    run: Command, options: tuple[str, ...]
) -> None:
    assert run("registry", "tags", *options, "127.0.0.1:1/x/y").code == 2


def test_nobody_there_is_said_at_last(run: Command) -> None:
    done = run("registry", "tags", "--retry-max-wait", "10ms", "127.0.0.1:1/x/y")
    assert done.code == 8
    assert "nothing listens there" in done.err
