"""What holds for every text that options of containers take: a value, or one usage error."""

import contextlib
from collections.abc import Callable

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ocitool.cli.options.containers.limits import parse_cpus, parse_ulimit
from ocitool.cli.options.containers.mounts import parse_mount, parse_tmpfs, parse_volume
from ocitool.cli.options.containers.network import parse_host
from ocitool.cli.options.containers.process import parse_variable
from ocitool.containers.binds import check_mounts
from ocitool.containers.config.files import without_loopback
from ocitool.containers.config.seccomp import seccomp_filter
from ocitool.containers.options import Bind, MountOptions
from ocitool.containers.signals import signal_number
from ocitool.errors import OcitoolError, UsageError

UNTIMED = settings(deadline=None, max_examples=60, phases=[Phase.generate])
PIECES = st.sampled_from(
    [":", ",", "=", "/", "/a", "ro", "type=bind", "type=tmpfs", "source=/", "target=/x", '"', "1"]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=7).map("".join)


def refusal(call: Callable[..., object], *arguments: object) -> OcitoolError | None:
    """Return the error of ours with which a call ends, if it does."""
    try:
        call(*arguments)
    except OcitoolError as error:
        return error
    return None


@UNTIMED
@given(TEXTS)
def test_any_text_is_read_or_refused_with_what_to_do(text: str) -> None:
    for parse in (parse_cpus, parse_ulimit, parse_mount, parse_tmpfs, parse_host, signal_number):
        refused = refusal(parse, text)
        assert refused is None or (refused.message.isprintable() and refused.hint)
    with contextlib.suppress(UsageError):
        (pair,) = parse_variable(f"{text}=v", "-e").items()
        assert pair == (text.partition("=")[0], f"{text}=v".partition("=")[2])


@UNTIMED
@given(TEXTS)
def test_a_volume_is_safe_to_mount_or_refused(text: str) -> None:
    refused = refusal(parse_volume, text, lambda _: None)
    if refused is not None:
        assert refused.hint
        return
    found = parse_volume(text, lambda _: None)
    asked = (
        MountOptions(binds=(found,)) if isinstance(found, Bind) else MountOptions(volumes=(found,))
    )
    refused = refusal(check_mounts, asked)
    if refused is not None:
        assert refused.hint
        return
    (target,) = asked.targets or asked.volumes
    assert target.startswith("/")
    assert not {"..", ".", ""} & set(target.split("/")[1:])


@UNTIMED
@given(st.binary(max_size=40) | TEXTS.map(str.encode))
def test_any_profile_gives_a_filter_or_a_usage_error(profile: bytes) -> None:
    with contextlib.suppress(UsageError):
        seccomp_filter(profile, capabilities=(), architecture="amd64")


@UNTIMED
@given(st.text())
def test_no_name_server_of_the_host_alone_stays(text: str) -> None:
    kept = without_loopback(f"{text}\nnameserver 127.0.0.1\n nameserver ::1\n")
    assert "nameserver 127." not in kept
    assert "nameserver ::1" not in kept.splitlines()
