"""Image names, by the distribution grammar and docker's rules."""

import pytest

from ocitool.errors import UsageError
from ocitool.oci.digest import Digest
from ocitool.oci.reference import Reference

DIGEST = Digest.of(b"")
HEX = DIGEST.hex


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
        ("user/app", "docker.io/user/app:latest"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
        ("docker.io/library/ubuntu", "docker.io/library/ubuntu:latest"),
        ("index.docker.io/ubuntu:1", "docker.io/library/ubuntu:1"),
        ("index.docker.io/user/app", "docker.io/user/app:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost", "docker.io/library/localhost:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("host:5000/x", "host:5000/x:latest"),
        ("host:5000/x:y", "host:5000/x:y"),
        ("quay.io/a/b/c:T_1.x-y", "quay.io/a/b/c:T_1.x-y"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("[2001:db8::1]/x", "[2001:db8::1]/x:latest"),
        ("HOST/x", "HOST/x:latest"),
        ("Registry.Example.com/x", "Registry.Example.com/x:latest"),
        ("xn--n3h.com/x", "xn--n3h.com/x:latest"),
        ("a--b__c/d", "docker.io/a--b__c/d:latest"),
        ("x/library", "docker.io/x/library:latest"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}"),
        (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}"),
        (f"docker.io/library/{HEX}", f"docker.io/library/{HEX}:latest"),
        (f"{HEX}:1", f"docker.io/library/{HEX}:1"),
        (f"{HEX[:63]}", f"docker.io/library/{HEX[:63]}:latest"),
    ],
)
def test_a_name_is_completed_as_docker_does(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("Ubuntu", "lower case"),
        ("user/App:1", "lower case"),
        ("quay.io/User/app", "lower case"),
        (HEX, "image ID"),
        (str(DIGEST), "image ID"),
        ("https://quay.io/x", "address"),
        ("x:", "tag is empty"),
        ("x:.1", "not a tag"),
        ("x:-1", "not a tag"),
        ("x:a:b", "not a tag"),
        ("x:é", "not a tag"),
        ("x:" + "a" * 129, "not a tag"),
        ("x:1\n", "not a tag"),
        ("x\n", "not a repository"),
        ("x@", "digest"),
        ("x@sha256:abc", "digest"),
        (f"x@sha256:{HEX.upper()}", "digest"),
        (f"x@{DIGEST}\n", "digest"),
        (f"x@{DIGEST}@{DIGEST}", "digest"),
        (f"@{DIGEST}", "not a repository"),
        ("/x", "not a repository"),
        ("x/", "not a repository"),
        ("a//b", "not a repository"),
        ("a..b", "not a repository"),
        ("a___b", "not a repository"),
        ("_a", "not a repository"),
        ("a-", "not a repository"),
        ("a b", "not a repository"),
        ("../../etc/passwd", "registry host"),
        ("host:port/x", "registry host"),
        ("-host.com/x", "registry host"),
        ("a_b.c/x", "registry host"),
        ("[::1/x", "registry host"),
        ("user@quay.io/x", "digest"),
        ("a" * 256, "longer than 255"),
        ("ü", "not a repository"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Reference.parse(text)


def test_a_name_of_255_bytes_is_accepted() -> None:
    assert Reference.parse("quay.io/" + "a" * 255).path == "a" * 255


def test_a_tag_of_128_characters_is_accepted() -> None:
    assert Reference.parse("x:" + "a" * 128).tag == "a" * 128


def test_the_error_shows_control_characters_escaped() -> None:
    with pytest.raises(UsageError) as caught:
        Reference.parse("x\x1b]0;title\x07")
    assert caught.value.message.isprintable()


def test_an_upper_case_repository_gets_a_hint_in_lower_case() -> None:
    with pytest.raises(UsageError) as caught:
        Reference.parse("Ubuntu:24.04")
    assert caught.value.hint == "did you mean 'ubuntu'?"


def test_the_name_has_the_tag_and_not_the_digest() -> None:
    assert Reference.parse(f"x:1@{DIGEST}").name == "docker.io/library/x:1"


def test_the_name_has_the_digest_where_there_is_no_tag() -> None:
    assert Reference.parse(f"x@{DIGEST}").name == f"docker.io/library/x@{DIGEST}"


@pytest.mark.parametrize(
    ("text", "familiar"),
    [
        ("docker.io/library/ubuntu:24.04", "ubuntu:24.04"),
        ("docker.io/user/app", "user/app:latest"),
        ("docker.io/library/a/b", "library/a/b:latest"),
        ("quay.io/a/b", "quay.io/a/b:latest"),
        (f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
    ],
)
def test_the_familiar_form_is_the_short_one(text: str, familiar: str) -> None:
    assert Reference.parse(text).familiar == familiar


@pytest.mark.parametrize("text", ["docker.io/localhost/x:1", "docker.io/a.b/x:1"])
def test_a_namespace_that_looks_like_a_host_keeps_its_registry(text: str) -> None:
    assert Reference.parse(text).familiar == text


def test_pinning_to_a_digest_keeps_the_tag() -> None:
    assert str(Reference.parse("x:1").with_digest(DIGEST)) == f"docker.io/library/x:1@{DIGEST}"


def test_another_tag_drops_the_digest() -> None:
    assert str(Reference.parse(f"x@{DIGEST}").with_tag("2")) == "docker.io/library/x:2"


def test_another_tag_has_to_be_a_tag() -> None:
    with pytest.raises(UsageError):
        Reference.parse("x").with_tag("no tag")
