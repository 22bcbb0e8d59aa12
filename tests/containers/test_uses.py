"""Who uses which image: what containers elsewhere say, and how it is matched with a store."""

import contextlib
import hashlib
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ocitool.containers.providers import find_providers
from ocitool.containers.uses import ContainerUse, containers_by_image, describe_uses
from ocitool.errors import Refused, UsageError
from ocitool.oci import Digest
from ocitool.places.layout import Layout, untag
from tests.containers.listed import APP, CONFIG, NAME, OF_PODMAN, OTHER
from tests.support.engine import engine
from tests.support.images import build_image, build_index
from tests.support.layouts import bring, image


def use(**said: Any) -> ContainerUse:
    return ContainerUse(provider="docker", id="c", name="web", state="exited", **said)


def held(layout: Layout, one: ContainerUse) -> set[Digest]:
    return set(containers_by_image(layout, [one]))


class TestMatching:
    def test_who_gives_a_name_alone_holds_every_image_that_had_it(self, layout: Layout) -> None:
        bring(layout, OTHER, NAME)
        both = {APP.descriptor.digest, OTHER.descriptor.digest}
        assert held(layout, use(names=("app:1",))) == both
        untag(layout, [NAME])
        assert held(layout, use(names=("app:1",))) == both
        assert held(layout, use(names=("app:1",), digests=("sha256:" + "9" * 64,))) == set()

    @pytest.mark.parametrize(
        "said",
        [
            {"digests": (CONFIG,)},
            {"digests": (APP.config.digest.hex,)},
            {"digests": (APP.config.digest.hex[:12],)},
            {"digests": (f"sha256:{APP.config.digest.hex[:20]}",)},
            {"digests": (str(APP.descriptor.digest),)},
            {"names": (f"registry.example/other/name@{APP.descriptor.digest}",)},
            {"names": (f"app:9@{APP.descriptor.digest}",)},
            {"names": (APP.config.digest.hex[:12],)},
            {"names": ("app:1",)},
            {"names": (NAME,)},
        ],
        ids=repr,
    )
    def test_whatever_a_container_calls_its_image_it_is_found(
        self, layout: Layout, said: dict[str, Any]
    ) -> None:
        assert held(layout, use(**said)) == {APP.descriptor.digest}

    def test_a_digest_counts_more_than_a_name_that_has_moved(self, layout: Layout) -> None:
        one = use(digests=(CONFIG,), names=("other:1",))
        assert held(layout, one) == {APP.descriptor.digest}

    def test_a_name_counts_when_the_digest_is_of_nothing_here(self, layout: Layout) -> None:
        one = use(digests=("sha256:" + "1" * 64,), names=("other:1",))
        assert held(layout, one) == {OTHER.descriptor.digest}

    def test_an_image_without_a_name_is_found_by_its_digest(self, layout: Layout) -> None:
        untag(layout, [NAME])
        assert held(layout, use(digests=(CONFIG,), names=("app:1",))) == {APP.descriptor.digest}

    @pytest.mark.parametrize(
        "said",
        [
            {},
            {"digests": ("sha256:" + "1" * 64,)},
            {"digests": (APP.config.digest.hex[:11],)},
            {"digests": (f"sha512:{APP.config.digest.hex[:20]}",)},
            {"names": ("app:2", "\x1b[2J", "UPPER")},
        ],
        ids=repr,
    )
    def test_what_means_nothing_here_holds_nothing(
        self, layout: Layout, said: dict[str, Any]
    ) -> None:
        assert held(layout, use(**said)) == set()

    def test_indexes_are_held_by_their_own_digest_and_those_of_all_below(
        self, layout: Layout
    ) -> None:
        images = [
            build_image([{"p": p.encode()}], platform=p) for p in ("linux/amd64", "linux/arm")
        ]
        inner = build_index(images)
        outer = build_index([inner])  # type: ignore[list-item]
        bring(layout, outer, "docker.io/library/both:1")
        below = [outer.descriptor, inner.descriptor, images[1].descriptor, images[1].config]
        for descriptor in below:
            one = use(digests=(str(descriptor.digest),))
            assert held(layout, one) == {outer.descriptor.digest}, descriptor

    def test_one_container_may_hold_two_images_with_one_config(self, layout: Layout) -> None:
        again = build_image([{"text": b"app"}], compression="none")
        bring(layout, again, "docker.io/library/again:1")
        assert again.config.digest == APP.config.digest
        assert held(layout, use(digests=(CONFIG,))) == {
            APP.descriptor.digest,
            again.descriptor.digest,
        }

    def test_all_holders_of_an_image_are_told(self, layout: Layout) -> None:
        first = use(digests=(CONFIG,))
        second = msgspec.structs.replace(use(names=("app:1",)), id="d")
        assert containers_by_image(layout, [first, second])[APP.descriptor.digest] == (
            first,
            second,
        )
        assert describe_uses([first]) == "container web (docker, exited)"


class TestWhoIsAsked:
    @pytest.fixture(autouse=True)
    def _no_engine_is_here(self, no_engines: None) -> None:
        """Nothing but what a test starts is asked."""

    def test_by_default_it_is_the_store_and_each_engine_whose_socket_exists(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        assert [one.name for one in find_providers([], layout=layout)] == ["store"]
        with engine(tmp_path / "p", lambda *_: (200, b"[]")):
            assert [one.name for one in find_providers([], layout=layout)] == ["store", "podman"]

    @pytest.mark.parametrize(
        ("kind", "of_user"), [("docker", "docker.sock"), ("podman", "podman/podman.sock")]
    )
    def test_the_systems_engine_and_the_users_are_both_asked(
        self, layout: Layout, tmp_path: Path, kind: str, of_user: str
    ) -> None:
        socket_of_user = tmp_path / of_user
        socket_of_user.parent.mkdir(exist_ok=True)
        body = json.dumps([OF_PODMAN]).encode()
        with (
            engine(tmp_path / kind[0], lambda *_: (200, b"[]")),
            engine(socket_of_user, lambda *_: (200, body)),
        ):
            for words in ([], [kind]):
                store, *found = find_providers(words, layout=layout)
                assert store.name == "store"
                assert {one.name for one in found} == {kind, f"{kind}:unix://{socket_of_user}"}
                uses = [use for one in found for use in one.uses()]
                assert set(containers_by_image(layout, uses)) == {APP.descriptor.digest}
            (_, only) = find_providers([f"{kind}:unix://{tmp_path}/{kind[0]}"], layout=layout)
            assert only.uses() == []

    def test_root_asks_the_engines_of_all_users_each_once(
        self, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "getuid", lambda: 0)
        for user in ("1000", "1001"):
            (tmp_path / "users" / user).mkdir(parents=True)
        first, second = (tmp_path / f"users/{user}/docker.sock" for user in ("1000", "1001"))
        with engine(first, lambda *_: (200, b"[]")), engine(second, lambda *_: (200, b"[]")):
            # A link, as podman-docker makes one, is not another engine.
            (tmp_path / "d").symlink_to(first)
            names = [one.name for one in find_providers([], layout=layout)]
        assert names == ["store", "docker", f"docker:unix://{second}"]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("how", ["DOCKER_HOST", "CONTAINER_HOST", "DOCKER_CONTEXT"])
    def test_an_engine_that_a_variable_or_a_context_names_is_asked_also_if_it_is_gone(
        self, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        kind = "podman" if how == "CONTAINER_HOST" else "docker"
        gone = f"unix://{tmp_path}/gone"
        if how == "DOCKER_CONTEXT":
            folder = tmp_path / "config/contexts/meta" / hashlib.sha256(b"rootless").hexdigest()
            folder.mkdir(parents=True)
            (folder / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": gone}}}))
            (tmp_path / "config/config.json").write_text('{"currentContext":"rootless"}')
        else:
            monkeypatch.setenv(how, gone)
        with engine(tmp_path / kind[0], lambda *_: (200, b"[]")):
            store, named, usual = find_providers([], layout=layout)
            assert (store.name, named.name) == ("store", kind)
            with pytest.raises(Refused, match="gone"):
                named.uses()
            assert usual.uses() == []

    @pytest.mark.parametrize("word", ["docker", "podman"])
    def test_the_store_counts_whatever_engine_is_named(self, layout: Layout, word: str) -> None:
        assert [one.name for one in find_providers([word], layout=layout)] == ["store", word]

    def test_files_count_besides_the_store_and_the_engines_whose_socket_exists(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        with engine(tmp_path / "p", lambda *_: (200, b"[]")):
            found = find_providers(["kube:F", "cri:F"], layout=layout)
            assert [one.name for one in found] == ["store", "podman", "kube:F", "cri:F"]
            found = find_providers(["store", "kube:F"], layout=layout)
            assert [one.name for one in found] == ["store", "kube:F"]

    def test_none_means_no_engine_and_no_file_but_the_store_counts(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        with engine(tmp_path / "d", lambda *_: (200, b"[]")):
            assert [one.name for one in find_providers(["none"], layout=layout)] == ["store"]
        with pytest.raises(UsageError):
            find_providers(["none", "store"], layout=layout)

    @pytest.mark.parametrize(
        "word", ["", "dockerd", "docker:", "file:x", "store:x", "crio", "kube"]
    )
    def test_an_unknown_word_is_refused(self, layout: Layout, word: str) -> None:
        with pytest.raises(UsageError):
            find_providers([word], layout=layout)

    @pytest.mark.parametrize("kind", ["docker", "podman"])
    def test_an_engine_is_asked_for_stopped_and_external_containers_too(
        self, layout: Layout, tmp_path: Path, kind: str
    ) -> None:
        body = json.dumps([OF_PODMAN]).encode()
        with engine(tmp_path / kind[0], lambda *_: (200, body)) as asked:
            provider = find_providers([kind], layout=layout)[-1]
            found = provider.uses()
        assert set(containers_by_image(layout, found)) == {APP.descriptor.digest}
        question = {
            "docker": "GET /containers/json?all=1",
            "podman": "GET /v4.0.0/libpod/containers/json?all=true&external=true",
        }
        assert asked == [question[kind]]

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (500, b'{"message":"broken"}'),
            (403, b'{"message":"no"}'),
            (404, b'{"message":"page not found"}'),
            (200, b""),
            (200, b"null"),
            (200, b"{}"),
            (200, b'[{"Id":"x"}]'),
            (200, b"[[]]"),
            (200, b'[{"Id":"x",'),
        ],
    )
    @pytest.mark.parametrize("kind", ["docker", "podman"])
    def test_an_engine_that_does_not_answer_the_question_is_refused(
        self, layout: Layout, tmp_path: Path, kind: str, status: int, body: bytes
    ) -> None:
        with engine(tmp_path / kind[0], lambda *_: (status, body)):
            provider = find_providers([kind], layout=layout)[-1]
            with pytest.raises(Refused) as caught:
                provider.uses()
        assert caught.value.hint

    @pytest.mark.parametrize("drips", [False, True])
    def test_an_engine_that_says_nothing_or_trickles_is_not_waited_for_long(
        self, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drips: bool
    ) -> None:
        monkeypatch.setattr("ocitool.places.engine.engine._QUESTION_SECONDS", 0.6)
        ended = threading.Event()

        def serve(listener: socket.socket) -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                if drips:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not ended.wait(0.1):
                    if drips:
                        connection.sendall(b" ")

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "d"))
            listener.listen()
            listener.settimeout(30)
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            try:
                provider = find_providers(["docker"], layout=layout)[-1]
                with pytest.raises(Refused, match="did not answer in time"):
                    provider.uses()
            finally:
                ended.set()
                thread.join()

    # httpcore does not close a unix socket that could not be connected.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_an_engine_that_was_asked_for_and_is_not_there_is_refused(self, layout: Layout) -> None:
        provider = find_providers(["docker"], layout=layout)[-1]
        with pytest.raises(Refused, match="cannot say"):
            provider.uses()

    def test_a_context_that_does_not_exist_is_no_absence_of_containers(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
        found = find_providers([], layout=layout)
        assert [one.name for one in found] == ["store", "docker"]
        with pytest.raises(Refused):
            found[1].uses()

    def test_podman_is_asked_for_the_mounts_that_its_list_leaves_out(
        self, layout: Layout, tmp_path: Path
    ) -> None:
        listed = [{**OF_PODMAN, "Mounts": ["/x"]}, {**OF_PODMAN, "Id": "gone", "Mounts": ["/x"]}]
        volume = {"Mounts": [{"Type": "image", "Source": "other:1", "Destination": "/x"}]}

        def answer(_: str, path: str) -> tuple[int, bytes]:
            if "gone" in path:
                return 404, b'{"message":"no such container"}'
            return 200, json.dumps(listed if "all=true" in path else volume).encode()

        with engine(tmp_path / "p", answer):
            found = find_providers(["podman"], layout=layout)[-1].uses()
        assert OTHER.descriptor.digest in containers_by_image(layout, found)


def test_a_thousand_containers_are_matched_in_one_pass(tmp_path: Path) -> None:
    images = [image(str(number)) for number in range(50)]
    with Layout.create(str(tmp_path / "s"), store=True) as layout:
        for number, one in enumerate(images):
            bring(layout, one, f"docker.io/library/i:{number}")
        uses = [
            ContainerUse(
                provider="docker",
                id=str(number),
                name=str(number),
                state="exited",
                digests=(str(images[number % 50].config.digest),),
            )
            for number in range(1000)
        ]
        found = containers_by_image(layout, uses)
    assert len(found) == 50
    assert all(len(holders) == 20 for holders in found.values())
