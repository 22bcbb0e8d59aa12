"""Platforms: containerd's names, normal forms and fallbacks."""

import pytest

from ocitool.errors import MalformedDocument, UsageError
from ocitool.oci.platform import Platform


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/9", "linux/arm64/v9"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm64/v9.2", "linux/arm64/v9.2"),
        ("linux/aarch64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/5", "linux/arm/v5"),
        ("linux/arm/v8", "linux/arm/v8"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("arm64", "linux/arm64"),
        ("x86_64", "linux/amd64"),
        ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        ("windows(10.0.17763+win32k)/amd64", "windows(10.0.17763+win32k)/amd64"),
        ("linux(+erofs+x)/amd64", "linux(+erofs+x)/amd64"),
        ("windows/amd64:10.0.17763", "windows(10.0.17763)/amd64"),
        ("linux/arm/v7:1", "linux(1)/arm/v7"),
    ],
)
def test_a_platform_is_read_and_normalised(text: str, shown: str) -> None:
    assert str(Platform.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "linux",
        "/",
        "linux/",
        "/amd64",
        "linux/amd64/v1/x",
        "linux amd64",
        "linux/amd64\n",
        "linux/amd64:",
        "linux(1/amd64",
        "linux(1)/amd64:2",
        "linux/ämd64",
    ],
)
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Platform.parse(text)


def names(text: str) -> list[str]:
    return [str(platform).removeprefix("linux/") for platform in Platform.parse(text).fallbacks()]


def test_arm_falls_back_to_older_arm() -> None:
    assert names("linux/arm/v8") == ["arm/v7", "arm/v6", "arm/v5"]
    assert names("linux/arm/v5") == []


def test_amd64_falls_back_to_lower_levels_and_then_to_386() -> None:
    assert names("linux/amd64/v3") == ["amd64/v2", "amd64", "386"]
    assert names("linux/amd64") == ["386"]


def test_arm64_falls_back_to_32_bit_arm() -> None:
    assert names("linux/arm64") == ["arm/v8", "arm/v7", "arm/v6", "arm/v5"]


def test_arm64_v9_falls_back_to_the_v8_it_was_made_from() -> None:
    assert names("linux/arm64/v9.1")[:8] == [
        "arm64/v9",
        "arm64/v8.6",
        "arm64/v8.5",
        "arm64/v8.4",
        "arm64/v8.3",
        "arm64/v8.2",
        "arm64/v8.1",
        "arm64",
    ]


def test_arm64_v9_stays_below_v8_10() -> None:
    assert names("linux/arm64/v9.5")[5] == "arm64/v8.9"


def test_other_architectures_have_no_fallback() -> None:
    assert names("linux/riscv64") == []


def rank(wanted: str, offered: str) -> int | None:
    return Platform.parse(wanted).rank(Platform.parse(offered))


def test_the_exact_platform_ranks_first() -> None:
    assert rank("linux/arm64/v8", "linux/aarch64") == 0


def test_a_better_fallback_ranks_before_a_worse_one() -> None:
    first, second = rank("linux/arm/v7", "linux/arm/v6"), rank("linux/arm/v7", "linux/arm/v5")
    assert first is not None
    assert second is not None
    assert 0 < first < second


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("linux/amd64", "linux/arm64"),
        ("linux/amd64", "windows/amd64"),
        ("linux/amd64", "linux/amd64/v2"),
        ("linux/386", "linux/amd64"),
        ("linux/arm64", "linux/arm64/v9"),
        ("linux/arm/v6", "linux/arm/v7"),
        ("linux/amd64", "linux(+special)/amd64"),
        ("windows(10.0.17763.1)/amd64", "windows(10.0.20348.1)/amd64"),
        ("windows(10.0.1)/amd64", "windows(10.0.17763)/amd64"),
        ("freebsd(14.1)/amd64", "freebsd(14.2)/amd64"),
        ("unknown/unknown", "unknown/unknown"),
    ],
)
def test_a_platform_that_cannot_serve_has_no_rank(wanted: str, offered: str) -> None:
    assert rank(wanted, offered) is None


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("windows(10.0.17763.1)/amd64", "windows(10.0.17763.999)/amd64"),
        ("windows(10.0.17763)/amd64", "windows/amd64"),
        ("windows/amd64", "windows(10.0.17763)/amd64"),
        ("linux(+a+b)/amd64", "linux(+b)/amd64"),
    ],
)
def test_versions_and_features_that_fit_are_accepted(wanted: str, offered: str) -> None:
    assert Platform.parse(offered).matches(Platform.parse(wanted))


def test_the_same_revision_ranks_before_another_of_the_same_build() -> None:
    assert rank("windows(10.0.17763.1)/amd64", "windows(10.0.17763.1)/amd64") == 0
    assert rank("windows(10.0.17763.1)/amd64", "windows(10.0.17763.2)/amd64") == 1


def test_a_wanted_platform_need_not_be_normalised() -> None:
    wanted = Platform(os="Linux", architecture="x86_64")
    assert wanted.rank(Platform(os="linux", architecture="amd64")) == 0


def test_attestations_are_of_an_unknown_platform() -> None:
    assert Platform(os="unknown", architecture="unknown").is_unknown
    assert not Platform(os="linux", architecture="amd64").is_unknown


def test_json_survives_with_unknown_fields() -> None:
    obj = {
        "architecture": "amd64",
        "os": "windows",
        "os.version": "10.0",
        "os.features": ["win32k"],
        "variant": "v1",
        "features": ["sse4"],
    }
    platform = Platform.from_json(obj, "platform")
    assert platform.variant == "v1"
    assert platform.to_json() == obj


def test_missing_names_become_empty_and_match_nothing() -> None:
    empty = Platform.from_json({}, "platform")
    assert (empty.os, empty.architecture) == ("", "")
    assert not empty.matches(Platform.parse("linux/amd64"))


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        ({"os": 1}, r"p\.os must be"),
        ({"os.features": "x"}, r"p\.os\.features must be"),
        ({"OS": "linux"}, "p has the key 'OS'"),
        ("linux/amd64", "p must be an object"),
    ],
)
def test_a_malformed_platform_is_refused(obj: object, path: str) -> None:
    with pytest.raises(MalformedDocument, match=path):
        Platform.from_json(obj, "p")
