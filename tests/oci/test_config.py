"""Image configs: strict on what decides, and history that is never guessed at."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from ocitool.errors import LimitExceeded, MalformedDocument
from ocitool.oci.config import HistoryEntry, ImageConfig, chain_ids, parse_time
from ocitool.oci.digest import Digest
from ocitool.oci.limits import DEFAULT_LIMITS
from ocitool.oci.platform import Platform
from ocitool.oci.runtime import Healthcheck, RuntimeConfig

A, B, C = (Digest.of(name) for name in (b"a", b"b", b"c"))


def parse(**fields: object) -> ImageConfig:
    obj = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(A), str(B)]},
        **fields,
    }
    return ImageConfig.parse(json.dumps(obj).encode())


def steps(*made_layer: bool) -> list[object]:
    return [
        {"created_by": f"step {number}", "empty_layer": not made}
        for number, made in enumerate(made_layer)
    ]


def mapped(*made_layer: bool) -> list[str | None]:
    entries = parse(history=steps(*made_layer)).layer_history()
    return [None if entry is None else entry.created_by for entry in entries]


def test_a_docker_config_is_read_and_its_bytes_are_kept() -> None:
    raw = json.dumps(
        {
            "architecture": "arm",
            "variant": "v7",
            "config": {
                "Hostname": "",
                "User": "app",
                "ExposedPorts": {"80/tcp": {}},
                "Env": ["PATH=/bin"],
                "Cmd": ["/bin/sh"],
                "Image": "sha256:30d8",
                "Volumes": {"/data": {}},
                "WorkingDir": "/srv",
                "Entrypoint": None,
                "OnBuild": None,
                "Labels": {"a": "1", "A": "2"},
                "StopSignal": "SIGINT",
                "StopTimeout": 9,
                "Shell": ["/bin/bash", "-c"],
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Retries": 3},
            },
            "container_config": {"Cmd": ["x"]},
            "created": "2026-11-24T02:30:42.219741883Z",
            "author": "me",
            "docker_version": "20.10.24",
            "history": [{"created": "2026-11-24T02:30:39Z", "comment": "Imported from -"}],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [str(A)]},
        }
    ).encode()
    assert ImageConfig.parse(raw) == ImageConfig(
        raw=raw,
        platform=Platform(os="linux", architecture="arm", variant="v7"),
        created="2026-11-24T02:30:42.219741883Z",
        author="me",
        diff_ids=(A,),
        history=(HistoryEntry(created="2026-11-24T02:30:39Z", comment="Imported from -"),),
        config=RuntimeConfig(
            user="app",
            env=("PATH=/bin",),
            cmd=("/bin/sh",),
            working_dir="/srv",
            exposed_ports=("80/tcp",),
            volumes=("/data",),
            labels={"a": "1", "A": "2"},
            stop_signal="SIGINT",
            stop_timeout=9,
            shell=("/bin/bash", "-c"),
            healthcheck=Healthcheck(test=("CMD", "true"), interval=1_000_000_000, retries=3),
        ),
    )


def test_an_old_config_without_platform_has_an_empty_one() -> None:
    raw = json.dumps({"rootfs": {"type": "layers", "diff_ids": []}}).encode()
    assert ImageConfig.parse(raw).platform == Platform(os="", architecture="")


def test_unknown_keys_of_a_config_do_not_end_up_in_its_platform() -> None:
    assert parse(docker_version="1").platform.extra == {}


@pytest.mark.parametrize("rootfs", [{"type": "layers"}, {"type": "layers", "diff_ids": None}])
def test_an_image_without_layers_may_leave_diff_ids_out(rootfs: object) -> None:
    assert parse(rootfs=rootfs).diff_ids == ()


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_config_that_says_nothing_of_running_is_accepted(nothing: object) -> None:
    assert parse(config=nothing).config == RuntimeConfig()


def test_a_command_may_be_a_single_string() -> None:
    assert parse(config={"Cmd": "/bin/sh"}).config.cmd == ("/bin/sh",)


@pytest.mark.parametrize("rootfs", [None, {}, {"diff_ids": []}, {"type": "foo"}, {"type": ""}, 1])
def test_a_config_without_a_sound_rootfs_is_refused(rootfs: object) -> None:
    with pytest.raises(MalformedDocument, match=r"config\.rootfs"):
        parse(rootfs=rootfs)


def test_a_diff_id_that_is_no_digest_is_refused_with_its_path() -> None:
    with pytest.raises(MalformedDocument, match=r"config\.rootfs\.diff_ids\[1\]: "):
        parse(rootfs={"type": "layers", "diff_ids": [str(A), str(B).upper()]})


def test_more_layers_than_the_limit_are_refused() -> None:
    raw = parse().raw
    with pytest.raises(LimitExceeded, match="2 layers"):
        ImageConfig.parse(raw, limits=replace(DEFAULT_LIMITS, layers=1))


def test_a_config_above_the_limit_of_bytes_is_refused() -> None:
    raw = parse().raw
    with pytest.raises(LimitExceeded):
        ImageConfig.parse(raw, limits=replace(DEFAULT_LIMITS, config_bytes=len(raw) - 1))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"created": 5}, r"config\.created"),
        ({"author": []}, r"config\.author"),
        ({"os": 1}, r"config\.os"),
        ({"history": {}}, r"config\.history"),
        ({"history": [None]}, r"config\.history\[0\]"),
        ({"history": [{"empty_layer": "yes"}]}, r"config\.history\[0\]\.empty_layer"),
        ({"history": [{"Empty_Layer": True}]}, r"config\.history\[0\]"),
        ({"config": []}, r"config\.config"),
        ({"config": {"Env": "A=1"}}, r"config\.config\.Env"),
        ({"config": {"Env": [1]}}, r"config\.config\.Env\[0\]"),
        ({"config": {"Cmd": {}}}, r"config\.config\.Cmd"),
        ({"config": {"Labels": {"a": 1}}}, r"config\.config\.Labels\['a'\]"),
        ({"config": {"ExposedPorts": ["80"]}}, r"config\.config\.ExposedPorts"),
        ({"config": {"StopTimeout": "9"}}, r"config\.config\.StopTimeout"),
        ({"config": {"Healthcheck": {"Interval": 1.5}}}, r"config\.config\.Healthcheck\.Interval"),
        ({"config": {"env": []}}, r"config\.config has the key 'env'"),
        ({"Rootfs": {}}, "config has the key 'Rootfs'"),
    ],
)
def test_a_malformed_field_is_refused_with_its_path(fields: dict[str, object], path: str) -> None:
    with pytest.raises(MalformedDocument, match=path):
        parse(**fields)


@pytest.mark.parametrize("history", [None, []])
def test_without_history_no_layer_has_any(history: object) -> None:
    assert parse(history=history).layer_history() == (None, None)


def test_each_step_with_a_layer_takes_the_next_one() -> None:
    assert mapped(False, True, False, True, False) == ["step 1", "step 3"]


def test_layers_beyond_a_short_history_have_none() -> None:
    assert mapped(False, True) == ["step 1", None]


def test_a_history_with_more_steps_than_layers_is_mapped_to_nothing() -> None:
    assert mapped(True, True, True) == [None, None]


def test_steps_are_listed_with_the_layer_they_made() -> None:
    config = parse(history=steps(False, True, False, True))
    assert [layer for _, layer in config.history_steps()] == [None, 0, None, 1]


def test_steps_of_a_history_too_long_are_listed_without_layers() -> None:
    config = parse(history=steps(True, True, True))
    assert [layer for _, layer in config.history_steps()] == [None, None, None]


def test_the_chain_id_of_one_layer_is_its_diff_id() -> None:
    assert chain_ids([A]) == (A,)


def test_a_chain_id_hashes_the_one_below_and_the_diff_id() -> None:
    second = hashlib.sha256(f"{A} {B}".encode()).hexdigest()
    third = hashlib.sha256(f"sha256:{second} {C}".encode()).hexdigest()
    assert [digest.hex for digest in chain_ids([A, B, C])] == [A.hex, second, third]
    assert parse().chain_ids() == chain_ids([A, B])


def test_a_time_is_cut_to_microseconds() -> None:
    moment = datetime(2026, 11, 24, 2, 30, 42, 219741, tzinfo=UTC)
    assert parse_time("2026-11-24T02:30:42.219741883Z") == moment


def test_a_short_fraction_is_a_fraction_of_a_second() -> None:
    moment = datetime(2026, 1, 1, 0, 0, 0, 500000, tzinfo=UTC)
    assert parse_time("2026-01-01T00:00:00.5Z") == moment


def test_a_time_keeps_its_zone() -> None:
    parsed = parse_time("2026-11-24T02:30:42+05:30")
    assert parsed is not None
    assert parsed.utcoffset() == timedelta(hours=5, minutes=30)


def test_the_zero_time_of_go_is_a_time() -> None:
    assert parse_time("0001-01-01T00:00:00Z") == datetime(1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-24",
        "2026-11-24T02:30:42",
        "2026-11-24 02:30:42Z",
        "2026-13-24T02:30:42Z",
        "2026-11-24T02:30:60Z",
        "2026-11-24T02:30:42.Z",
        "2026-11-24T02:30:42Z\n",
        "2026-11-24T02:30:42+25:00",
        "２026-11-24T02:30:42Z",
        "0000-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_time(text) is None
