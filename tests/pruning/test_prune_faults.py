"""Faults of P: each request fails in turn, the process is killed after each deletion, and more."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ocitool.errors import OcitoolError
from ocitool.operations.prune import prune
from tests.pruning.repositories import NAME, connected, image, plan, rules, sign, whole
from tests.support.command import environment
from tests.support.http_exchange import Exchange
from tests.support.images import build_index
from tests.support.registry import EmulatedRegistry, Quirks
from tests.support.registry_faults import Delay, Drop, Fault, HangUp, Status

AMD, ARM, OTHER = image("amd"), image("arm", platform="linux/arm64"), image("other", 9)
KEPT, GOING = build_index([AMD, ARM]), build_index([AMD, OTHER])
FAULTS: dict[str, Fault] = {
    "500": Status(status=500),
    "403": Status(status=403),
    "404": Status(status=404),
    "cut": Drop(after=20),
    "no answer": HangUp(),
    "no answer, but done": HangUp(processed=True),
    "late": Delay(0.05),
}


def filled(quirks: Quirks | None = None) -> EmulatedRegistry:
    registry = EmulatedRegistry(quirks)
    registry.add_image(NAME, KEPT, "v1")
    registry.add_image(NAME, GOING, "pr-1")
    sign(registry, AMD.descriptor, "cosign")
    sign(registry, OTHER.descriptor, "cosign")
    return registry


def try_once(registry: EmulatedRegistry) -> bool:
    """Prune, without a second try of any request; return whether all went well."""
    with connected() as registries:
        try:
            return prune([plan(registries, registry, rules("pr-.*"))])[0].problem is None
        except OcitoolError:
            return False


def check(registry: EmulatedRegistry) -> None:
    """Every tag that is there is whole, and what stays is all there with its signature."""
    named = registry.tags[NAME]
    assert named["v1"] == KEPT.descriptor.digest
    assert whole(registry, KEPT)
    assert named[f"sha256-{AMD.descriptor.digest.hex}.sig"] in registry.manifests[NAME]
    assert "pr-1" not in named or whole(registry, GOING)


def fail_each(name: str, quirks: Quirks | None) -> int:
    """Let each request fail in turn; return how many there are."""
    with filled(quirks) as registry:
        assert try_once(registry)
        check(registry)
        total = len(registry.log)
        reads = [one.method for one in registry.log].index("DELETE")
    for number in range(total):
        with filled(quirks) as registry:
            registry.fail("*", "", FAULTS[name], after=number)
            ended_well = try_once(registry)
            check(registry)
            if number < reads - 1 and not ended_well:
                assert not registry.requests("DELETE"), number
            assert try_once(registry) or not ended_well
            check(registry)
    return total


def test_each_request_fails_in_turn() -> None:
    assert fail_each("500", None) > 20


@pytest.mark.soak
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("by_tag", ["ok", "400"])
@pytest.mark.parametrize("referrers", ["api", "404"])
def test_each_request_fails_in_each_way(name: str, by_tag: str, referrers: str) -> None:
    quirks = Quirks(tag_delete=by_tag, referrers=referrers)  # type: ignore[arg-type]
    assert fail_each(name, quirks) > 20


class KillingRegistry(EmulatedRegistry):
    """Kills a process with the answer to a DELETE: the one of a number, counted from 1."""

    number = 0

    def __init__(self, quirks: Quirks) -> None:
        super().__init__(quirks)
        self.victim: Callable[[], None] = lambda: None
        self._count = 0
        self._turn = threading.Lock()

    def respond(self, exchange: Exchange) -> None:
        if exchange.method == "DELETE":
            with self._turn:
                self._count += 1
                is_due = self._count == self.number
            if is_due:
                original = exchange.answer
                exchange.answer = lambda *a, **k: (self.victim(), original(*a, **k))[1]  # type: ignore[method-assign]
        super().respond(exchange)


@pytest.mark.parametrize(("number", "by_tag"), [(1, "ok"), (3, "ok"), (2, "400")])
def test_killed_after_a_deletion_every_tag_is_whole_and_the_plan_goes_on(
    number: int, by_tag: str, tmp_path: Path
) -> None:
    kill_and_go_on(number, by_tag, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("by_tag", ["ok", "400"])
def test_killed_after_each_deletion(number: int, by_tag: str, tmp_path: Path) -> None:
    kill_and_go_on(number, by_tag, tmp_path)


def kill_and_go_on(number: int, by_tag: str, tmp_path: Path) -> None:
    """Kill a prune with the answer to one of its deletions; then apply its plan to the end."""
    with KillingRegistry(Quirks(tag_delete=by_tag)) as registry:  # type: ignore[arg-type]
        for tag, built in {"v1": KEPT, "pr-1": GOING}.items():
            registry.add_image(NAME, built, tag)
        sign(registry, AMD.descriptor, "cosign")
        sign(registry, OTHER.descriptor, "cosign")
        registry.number = number
        words = [f"{registry.host}/{NAME}", "--delete-tags", "pr-.*", "--plan-out", "plan", "-f"]
        assert run(registry, words, tmp_path) == -signal.SIGKILL
        check(registry)
        assert run(registry, ["--apply", "plan", "-f"], tmp_path) == 0
        check(registry)
        assert set(registry.tags[NAME]) == {"v1", f"sha256-{AMD.descriptor.digest.hex}.sig"}
        assert OTHER.descriptor.digest not in registry.manifests[NAME]
        assert len(registry.manifests[NAME]) == 4


def run(registry: KillingRegistry, words: list[str], folder: Path) -> int:
    """Run the command as a process of its own, which the registry may kill."""
    with subprocess.Popen(
        [sys.executable, "-m", "ocitool", "registry", "prune", *words],
        cwd=folder,
        env=environment(folder / "store"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        registry.victim = lambda: os.kill(process.pid, signal.SIGKILL)
        return process.wait()


def test_two_at_once_do_no_harm() -> None:
    with filled() as registry:
        threads = [threading.Thread(target=try_once, args=(registry,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(registry)
        assert "pr-1" not in registry.tags[NAME]


def test_a_limit_of_requests_is_waited_for() -> None:
    with filled(Quirks(too_many=1, too_many_pattern="manifests", retry_seconds=0)) as registry:
        with connected(retries=1) as registries:
            assert prune([plan(registries, registry, rules("pr-.*"))])[0].problem is None
        check(registry)
