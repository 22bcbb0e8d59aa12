"""Every network operation ends: whatever a connection does, by a limit and after few attempts."""

import random
import time
from pathlib import Path
from typing import Literal

import pytest

from ocitool.errors import IntegrityError, OcitoolError, Unavailable
from ocitool.oci import Reference
from ocitool.operations.pull import pull
from ocitool.places.layout import Layout
from ocitool.places.registry import Repository, registries
from tests.places.registry.reading import HASTY, NAME, reading
from tests.support.fault_proxy import FaultProxy, TcpFault
from tests.support.images import build_image
from tests.support.registry import EmulatedRegistry
from tests.support.registry_faults import (
    Delay,
    Drip,
    Drop,
    EarlyStatus,
    ExtraBytes,
    Fault,
    FlippedByte,
    HangUp,
    Stall,
    Status,
    WrongLength,
)
from tests.support.stores import assert_whole, checked, roots_of

IMAGE = build_image([{"a": random.Random(1).randbytes(1_500_000)}, {"b": b"2"}], compression="none")
LIMITS_HERE = HASTY.with_limit("retries", 1)
ATTEMPTS, SECONDS = 2, 8

SERVER_FAULTS: tuple[Fault, ...] = (
    HangUp(),
    HangUp(processed=True),
    HangUp(reset=True),
    Drop(after=0),
    Drop(after=10),
    Drop(after=10, reset=True),
    Stall(seconds=60),
    Stall(seconds=60, after=10),
    WrongLength(-1),
    WrongLength(1),
    WrongLength(1000),
    ExtraBytes(),
    ExtraBytes(bytes(100_000)),
    FlippedByte(0),
    Status(status=204),
    Status(status=206, headers={"Content-Range": "bytes 5-9/10"}),
    Status(status=304),
    Status(status=307, headers={"Location": "/v2/"}),
    Status(status=416),
    Status(status=429),
    Status(status=500),
    Status(status=503, headers={"Retry-After": "9999999999"}),
    Status(status=200, body=b"<html>Log in</html>", headers={"Content-Type": "text/html"}),
    EarlyStatus(status=400),
    Delay(60),
    Drip(0.2),
)
ACTIONS: tuple[Literal["close", "reset", "stall"], ...] = ("close", "reset", "stall")
DIRECTIONS: tuple[Literal["up", "down"], ...] = ("up", "down")
TCP_FAULTS = tuple(
    TcpFault(action=action, direction=direction, after=after, seconds=60, times=999)
    for action in ACTIONS
    for direction in DIRECTIONS
    for after in (0, 20)
)


@pytest.fixture(autouse=True)
def _look_for_tls_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "_PROBE_SECONDS", 0.3)


def ended(host: str, store: Path) -> OcitoolError | None:
    """Pull an image; return how that failed, if it did. Either way it is over in a moment."""
    began = time.monotonic()
    failure = None
    with (
        Layout.create(str(store), store=True) as layout,
        reading(host, limits=LIMITS_HERE, plain_http=True) as reader,
    ):
        reference = Reference.parse(f"{host}/{NAME}:1")
        try:
            pull(Repository(reader.session), layout, [reference])
        except OcitoolError as error:
            failure = error
    assert time.monotonic() - began < SECONDS
    return failure


@pytest.mark.parametrize("fault", SERVER_FAULTS, ids=str)
@pytest.mark.parametrize("target", ["/manifests/1", "/blobs/"])
def test_a_fault_of_the_server_comes_to_an_end(tmp_path: Path, fault: Fault, target: str) -> None:
    with EmulatedRegistry() as registry:
        registry.add_image(NAME, IMAGE, "1")
        registry.fail("GET", target, fault, times=999)
        failure = ended(registry.host, tmp_path / "s")
        asked = [one.target for one in registry.requests("GET", target)]
    if failure is None:
        assert_whole(tmp_path / "s")
    else:
        assert failure.message
        assert roots_of(tmp_path / "s") == {}
        assert checked(tmp_path / "s").problems == ()
    # A part that is not the one asked for is asked for once more as a whole.
    assert max(asked.count(one) for one in asked) <= 2 * ATTEMPTS


@pytest.mark.parametrize("fault", TCP_FAULTS, ids=str)
def test_a_fault_of_the_network_comes_to_an_end(tmp_path: Path, fault: TcpFault) -> None:
    with EmulatedRegistry() as registry, FaultProxy(registry.host, fault) as proxy:
        registry.add_image(NAME, IMAGE, "1")
        failure = ended(proxy.host, tmp_path / "s")
        assert isinstance(failure, Unavailable)
        assert proxy.connections <= 2 * ATTEMPTS
    assert roots_of(tmp_path / "s") == {}


@pytest.mark.parametrize("fault", [FlippedByte(3), ExtraBytes(), WrongLength(-1)], ids=str)
def test_wrong_content_is_a_matter_of_integrity(tmp_path: Path, fault: Fault) -> None:
    with EmulatedRegistry() as registry:
        registry.add_image(NAME, IMAGE, "1")
        registry.fail("GET", "/blobs/", fault, times=999)
        assert isinstance(ended(registry.host, tmp_path / "s"), IntegrityError)
