"""Containers of our own: bundles, records, sharing, and what killed commands leave."""

import os
import signal
import time
from pathlib import Path

import pytest

from ocitool.containers.providers import find_providers
from ocitool.containers.records import containers, find_container
from ocitool.containers.removing import remove_container
from ocitool.containers.sharing import can_share
from ocitool.containers.staging import clear_leftovers
from ocitool.containers.uses import containers_by_image
from ocitool.errors import (
    DigestMismatch,
    MalformedArchive,
    NotFound,
    OcitoolError,
    Refused,
    StorageError,
    UsageError,
)
from ocitool.formats.tar import NotATar
from ocitool.garbage import Choice, plan, remove, sweep
from ocitool.images.lookup import find_image
from ocitool.operations.tag import tag
from ocitool.places.layout import Layout, untag
from tests.containers.making import NAME, app, create, root_of, runtime_config
from tests.support.disk import small_disk
from tests.support.images import build_image, build_index
from tests.support.layouts import bring, paused, store
from tests.support.root_files import Node, folder, layer_of, link
from tests.support.stores import checked


@pytest.fixture
def overlay(tmp_path: Path) -> None:
    """Skip where the kernel lays no overlay over the folder, as in some containers and chroots."""
    if not can_share(str(tmp_path), rootless=os.geteuid() != 0):
        pytest.skip("no overlay can be laid over this folder")


def leftovers(path: Path) -> list[str]:
    """Return what lies in the folders of containers of a store that has none."""
    places = [path / ".ocitool" / place for place in ("unpacking", "trees", "bundles")]
    return [name for place in places if place.exists() for name in os.listdir(place)]


class TestTheBundle:
    def test_the_process_is_what_the_image_says(self, tmp_path: Path) -> None:
        config = {
            "Entrypoint": ["/bin/app"],
            "Cmd": ["-v"],
            "Env": ["A=b", "PATH=/bin"],
            "WorkingDir": "/w",
        }
        with store(tmp_path / "s", app=app(config)) as layout:
            container = create(layout).container
            process = runtime_config(container)["process"]
        assert process["args"] == ["/bin/app", "-v"]
        assert process["env"] == ["PATH=/bin", f"HOSTNAME={container.id[:12]}", "A=b"]
        assert process["cwd"] == "/w"

    def test_a_command_replaces_the_images_own_and_keeps_its_entry_point(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path / "s", app=app({"Entrypoint": ["/e"], "Cmd": ["c"]})) as layout:
            made = create(layout, command=("x", "y"))
        assert runtime_config(made.container)["process"]["args"] == ["/e", "x", "y"]

    def test_an_image_without_a_command_needs_one(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app({"Cmd": None})) as layout:
            with pytest.raises(UsageError, match="does not say what to run"):
                create(layout)
            assert containers(layout) == []
            create(layout, command=("/bin/app",))

    @pytest.mark.parametrize(
        ("user", "expected"),
        [
            ("", (0, 0, [0])),
            ("app", (1000, 100, [100, 33, 8])),
            ("1000", (1000, 100, [100, 33, 8])),
            ("app:web", (1000, 33, [33])),
            ("app:7", (1000, 7, [7])),
            ("77", (77, 0, [0])),
            ("77:88", (77, 88, [88])),
        ],
    )
    @pytest.mark.skipif(os.geteuid() != 0, reason="a rootless container knows its root alone")
    def test_the_user_is_the_one_of_the_images_own_files(
        self, tmp_path: Path, user: str, expected: tuple[int, int, list[int]]
    ) -> None:
        with store(tmp_path / "s", app=app({"User": user})) as layout:
            found = runtime_config(create(layout).container)["process"]["user"]
        assert (found["uid"], found["gid"], found["additionalGids"]) == expected

    def test_a_user_that_the_image_does_not_know_is_told(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app({"User": "nobody-here"})) as layout:
            with pytest.raises(NotFound, match="not in its /etc/passwd"):
                create(layout)
            assert containers(layout) == []

    def test_a_password_file_that_links_to_the_hosts_is_the_images(self, tmp_path: Path) -> None:
        hostile = layer_of(link("etc/passwd", "/../../../../etc/passwd-of-image"))
        image = app({"User": "root"}, hostile)
        with store(tmp_path / "s", app=image) as layout, pytest.raises(NotFound):
            create(layout)

    def test_ports_labels_and_the_rest_are_annotations(self, tmp_path: Path) -> None:
        config = {
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "StopSignal": "SIGQUIT",
            "Labels": {"a": "b", "org.opencontainers.image.os": "mine"},
        }
        with store(tmp_path / "s", app=app(config)) as layout:
            container = create(layout).container
        found = runtime_config(container)["annotations"]
        assert found["org.opencontainers.image.exposedPorts"] == "80/tcp,53/udp"
        assert found["org.opencontainers.image.stopSignal"] == "SIGQUIT"
        assert found["org.opencontainers.image.architecture"] == "amd64"
        # A label of the image takes precedence over what would be set.
        assert found["org.opencontainers.image.os"] == "mine"
        assert found["a"] == "b"
        assert found["io.ocitool.container.id"] == container.id

    def test_a_volume_is_a_mount_and_never_the_root(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app({"Volumes": {"/data": {}, "/": {}}})) as layout:
            mounts = runtime_config(create(layout, alone=True).container)["mounts"]
        volumes = [m for m in mounts if "tmpcopyup" in m.get("options", ())]
        assert [m["destination"] for m in volumes] == ["/data"]

    def test_a_volume_begins_with_the_owner_and_mode_that_the_image_has_there(
        self, tmp_path: Path
    ) -> None:
        more = layer_of(
            folder("data", 0o2750, owner=(5, 6)),
            link("there", "../data/./"),
            Node(path="file", data=b"x"),
        )
        volumes: dict[str, object] = {
            "/data/": {},
            "/there": {},
            "/file": {},
            "/new": {},
            "//proc": {},
            "/dev": {},
        }
        with store(tmp_path / "s", app=app({"Volumes": volumes}, more)) as layout:
            made = create(layout, alone=True)
            mounts = runtime_config(made.container)["mounts"]
        options = {m["destination"]: m["options"] for m in mounts if m["type"] == "tmpfs"}
        own = ["uid=0", "gid=0"] if made.rootless else ["uid=5", "gid=6"]
        assert options["/data"][-3:] == ["mode=2750", *own]
        assert options["/there"][-3:] == ["mode=2750", *own]
        assert options["/new"][-3:] == ["mode=755", "uid=0", "gid=0"]
        # The file is there without a mount, and the rest is the kernel's.
        assert "/file" not in options
        assert "/proc" not in options
        assert "tmpcopyup" not in options["/dev"]

    @pytest.mark.usefixtures("overlay")
    def test_the_bundle_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            inside = create(layout).container
            outside = create(layout, bundle=str(tmp_path / "b")).container
            for place in (inside.bundle, outside.bundle, tmp_path / "s/.ocitool/trees"):
                assert os.stat(place).st_mode & 0o777 == 0o700


class TestUnpacking:
    @pytest.mark.usefixtures("overlay")
    def test_containers_of_one_image_share_what_was_unpacked(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            first, second = create(layout), create(layout)
            assert first.container.tree == second.container.tree is not None
            assert first.extracted is not None
            assert second.extracted is None
            assert (root_of(second.container) / "bin/app").exists()

    @pytest.mark.usefixtures("overlay")
    def test_a_shared_tree_goes_with_the_last_that_shares_it(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            first, second = create(layout).container, create(layout).container
            remove_container(layout, first.id)
            assert (root_of(second) / "bin/app").exists()
            remove_container(layout, second.name)
            assert list((tmp_path / "s/.ocitool/trees").iterdir()) == []
            assert list((tmp_path / "s/.ocitool/bundles").iterdir()) == []
            assert list((tmp_path / "s/.ocitool/unpacking").iterdir()) == []

    def test_a_container_may_have_a_tree_of_its_own(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            container = create(layout, alone=True).container
        assert container.tree is None
        assert Path(container.bundle, "rootfs/bin/app").exists()
        assert all(m["type"] != "overlay" for m in runtime_config(container)["mounts"])

    def test_a_path_that_an_overlay_would_misread_is_not_shared(self, tmp_path: Path) -> None:
        with store(tmp_path / "a,b:c", app=app()) as layout:
            assert create(layout).container.tree is None

    def test_a_damaged_layer_leaves_nothing(self, tmp_path: Path) -> None:
        image = app()
        with store(tmp_path / "s", app=image) as layout:
            blob = tmp_path / "s/blobs/sha256" / image.layers[0].digest.hex
            data = bytearray(blob.read_bytes())
            data[len(data) // 2] ^= 1
            blob.write_bytes(data)
            with pytest.raises((DigestMismatch, MalformedArchive)):
                create(layout, bundle=str(tmp_path / "b"))
            assert containers(layout) == []
            assert sorted(os.listdir(tmp_path)) == ["s"]
            assert leftovers(tmp_path / "s") == []

    def test_what_is_wrong_with_a_layer_names_it_and_what_to_do(self, tmp_path: Path) -> None:
        image = app(None, b"{}" * 500)
        with store(tmp_path / "s", app=image) as layout, pytest.raises(NotATar) as caught:
            create(layout)
        assert caught.value.message == (
            f"layer 2 of 2 of 'app:1' ({image.layers[1].digest.short}): "
            "not a tar archive: it does not begin with a tar header"
        )
        assert caught.value.hint == (
            "`ocitool verify app:1` tells if it is damaged here; if it is not, the image was "
            "made like this: build it anew"
        )

    def test_a_layer_with_another_diff_id_is_refused(self, tmp_path: Path) -> None:
        other = {"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}}
        image = build_image([{"a": b"b"}], config=other)
        with store(tmp_path / "s", app=image) as layout, pytest.raises(DigestMismatch):
            create(layout)

    def test_of_an_index_the_wanted_platform_is_taken(self, tmp_path: Path) -> None:
        from ocitool.oci import Platform

        images = [
            build_image([{"p": p.encode()}], platform=p) for p in ("linux/amd64", "linux/arm")
        ]
        index = build_index(images)
        with store(tmp_path / "s", app=index) as layout:
            with pytest.raises(UsageError, match="holds 2 images"):
                create(layout)
            container = create(layout, platform=Platform.parse("linux/arm")).container
            assert (root_of(container) / "p").read_bytes() == b"linux/arm"
            assert container.digest == str(index.descriptor.digest)
            assert container.manifest == str(images[1].descriptor.digest)

    def test_an_image_for_another_platform_than_the_wanted_one_is_not_found(
        self, tmp_path: Path
    ) -> None:
        from ocitool.oci import Platform

        image = build_image([{"a": b"b"}], platform="linux/arm64")
        with store(tmp_path / "s", app=image) as layout:
            with pytest.raises(NotFound, match="linux/s390x"):
                create(layout, platform=Platform.parse("linux/s390x"), command=("x",))
            made = create(layout, usual=Platform.parse("linux/s390x"), command=("x",))
            assert made.platform.architecture == "arm64"

    def test_an_image_for_another_system_is_refused(self, tmp_path: Path) -> None:
        image = build_image([{"a": b"b"}], platform="windows/amd64")
        with (
            store(tmp_path / "s", app=image) as layout,
            pytest.raises(UsageError, match="an image for 'windows'"),
        ):
            create(layout, command=("x",))

    @pytest.mark.parametrize("name", ["a,b", "a\\b", "a:b"])
    def test_a_bundle_that_an_overlay_would_misread_shares_nothing(
        self, tmp_path: Path, name: str
    ) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            assert create(layout, bundle=str(tmp_path / name)).container.tree is None


class TestNamesAndRecords:
    def test_a_name_is_given_once(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            create(layout, name="web")
            with pytest.raises(Refused, match="already"):
                create(layout, name="web")

    @pytest.mark.parametrize("name", ["", "-x", "a/b", "..", "a b", "\x1b[2J"])
    def test_a_name_that_could_be_a_path_or_an_option_is_refused(
        self, tmp_path: Path, name: str
    ) -> None:
        with store(tmp_path / "s", app=app()) as layout, pytest.raises(UsageError):
            create(layout, name=name)

    def test_a_container_is_found_by_its_name_and_the_start_of_its_id(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            container = create(layout, name="web").container
            assert find_container(layout, "web") == container
            assert find_container(layout, container.id[:6]) == container
            with pytest.raises(NotFound):
                find_container(layout, "we")

    def test_a_bundle_is_placed_only_where_nothing_is(self, tmp_path: Path) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full/x").write_text("mine")
        (tmp_path / "empty").mkdir()
        (tmp_path / "link").symlink_to("empty")
        with store(tmp_path / "s", app=app()) as layout:
            for place in ("full", "link", "full/x"):
                with pytest.raises(Refused):
                    create(layout, bundle=str(tmp_path / place))
            create(layout, bundle=str(tmp_path / "empty"))
            create(layout, bundle=str(tmp_path / "new/deeper"))
        assert (tmp_path / "empty/config.json").exists()
        assert (tmp_path / "new/deeper/config.json").exists()
        assert (tmp_path / "full/x").read_text() == "mine"

    @pytest.mark.parametrize("place", ["bundles/x", "unpacking/x", "x", "."])
    def test_a_bundle_is_not_placed_among_what_the_store_keeps(
        self, tmp_path: Path, place: str
    ) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            (tmp_path / "link").symlink_to("s/.ocitool")
            with pytest.raises(Refused, match="inside the store's own folder"):
                create(layout, bundle=str(tmp_path / "link" / place))

    def test_a_bundle_that_may_not_be_removed_keeps_its_record(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            container = create(layout, bundle=str(tmp_path / "b")).container
            monkeypatch.setattr("os.access", lambda *_: False)
            with pytest.raises(StorageError, match="permission denied"):
                remove_container(layout, container.id)
            monkeypatch.undo()
            assert containers(layout) == [container]
            assert (tmp_path / "b/config.json").exists()
            remove_container(layout, container.id)
            assert not (tmp_path / "b").exists()

    def test_a_bundle_that_is_anothers_now_is_left_alone(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            container = create(layout, bundle=str(tmp_path / "b")).container
            config = tmp_path / "b/config.json"
            config.write_text(config.read_text().replace(container.id, "0" * 64))
            removed = remove_container(layout, container.id)
            assert removed.left == str(tmp_path / "b")
            assert config.exists()
            assert containers(layout) == []

    def test_a_record_that_cannot_be_read_is_not_taken_for_no_container(
        self, tmp_path: Path
    ) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            container = create(layout).container
            record = tmp_path / f"s/.ocitool/containers/{container.id}.json"
            record.write_text("{")
            with pytest.raises(Refused):
                containers(layout)
            (provider,) = find_providers(["store"], layout=layout)
            with pytest.raises(Refused):
                provider.uses()
            # Nor does what killed commands left go while nobody knows what is needed.
            with pytest.raises(Refused):
                clear_leftovers(layout)
            assert Path(container.bundle).exists()


class TestTheImageStays:
    def test_the_store_says_who_holds_which_image(self, tmp_path: Path) -> None:
        image, other = app(), app({"Cmd": ["/other"]})
        with store(tmp_path / "s", app=image, other=other) as layout:
            create(layout, name="web")
            (provider,) = find_providers(["store"], layout=layout)
            (use,) = provider.uses()
            assert (use.provider, use.name, use.state) == ("store", "web", "created")
            held = containers_by_image(layout, [use])
            assert dict(held) == {image.descriptor.digest: (use,)}

    @pytest.mark.parametrize("then", ["create", "remove"])
    def test_an_image_is_in_use_until_its_container_is_gone(
        self, tmp_path: Path, then: str
    ) -> None:
        image = app()
        blob = tmp_path / "s/blobs/sha256" / image.descriptor.digest.hex
        choice = Choice(everything=True, unused_for=3600)
        with store(tmp_path / "s", app=image) as layout:
            container = create(layout).container
            os.utime(blob, (1, 1))
            if then == "create":
                create(layout)
            else:
                remove_container(layout, container.id)
            assert plan(layout, choice, now=time.time()).images == ()
            os.utime(blob, (1, 1))
            assert len(plan(layout, choice, now=time.time()).images) == 1

    def test_a_name_that_moves_changes_nothing_for_the_container(self, tmp_path: Path) -> None:
        image, other = app(), app({"Cmd": ["/other"]})
        with store(tmp_path / "s", app=image, other=other) as layout:
            container = create(layout).container
            tag(layout, find_image(layout, "other:1").root, [NAME])
            assert find_container(layout, container.id) == container
            (provider,) = find_providers(["store"], layout=layout)
            assert set(containers_by_image(layout, provider.uses())) == {image.descriptor.digest}
            assert (root_of(container) / "bin/app").exists()

    def test_a_container_stays_startable_when_its_image_lost_its_name(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            container = create(layout).container
            untag(layout, [NAME])
            assert (root_of(container) / "bin/app").exists()
            create(layout, container.digest.removeprefix("sha256:")[:12])


_CREATE = """
import sys
from ocitool.containers.creating import create_container
from ocitool.containers.options import CreateOptions
from ocitool.containers import creating
from ocitool.places.layout import Layout
from ocitool.images.lookup import find_image

place = sys.argv[2] or None
step = sys.argv[3]
real = getattr(creating, step.removeprefix("before "))

def then(*arguments, **options):
    if step.startswith("before "):
        pause()
    done = real(*arguments, **options)
    if not step.startswith("before "):
        pause()
    return done

setattr(creating, step.removeprefix("before "), then)
with Layout.existing(sys.argv[1]) as layout:
    create_container(layout, find_image(layout, "app:1"), CreateOptions(name="k", bundle=place))
"""


class TestKilled:
    @pytest.mark.parametrize("step", ["unpack_image", "write_config", "before keep", "keep"])
    @pytest.mark.parametrize("outside", [False, True])
    def test_what_a_killed_create_left_goes_with_the_next_command(
        self, tmp_path: Path, step: str, outside: bool
    ) -> None:
        place = str(tmp_path / "b") if outside else ""
        with store(tmp_path / "s", app=app()) as layout:
            with paused(_CREATE, str(tmp_path / "s"), place, step) as process:
                process.send_signal(signal.SIGKILL)
                process.wait()
            kept = step == "keep"
            assert clear_leftovers(layout) > 0
            names = [container.name for container in containers(layout)]
            assert names == (["k"] if kept else [])
            if not kept:
                assert sorted(os.listdir(tmp_path)) == ["s"]
                assert leftovers(tmp_path / "s") == []
                create(layout, name="k", bundle=place or None)
            assert clear_leftovers(layout) == 0
            (container,) = containers(layout)
            assert Path(container.bundle, "config.json").exists()
            trees, own = tmp_path / "s/.ocitool/trees", Path(container.bundle, "rootfs")
            root = own if container.tree is None else trees / container.tree
            assert (root / "bin/app").exists()

    def test_what_a_running_create_works_on_stays_and_so_does_its_image(
        self, tmp_path: Path
    ) -> None:
        image = app()
        with store(tmp_path / "s", app=image) as layout:
            with paused(_CREATE, str(tmp_path / "s"), "", "unpack_image") as process:
                assert clear_leftovers(layout) == 0
                remove(layout, [find_image(layout, "app:1")])
                assert process.stdin is not None
                process.stdin.close()
                process.stdin = None
                assert process.wait(30) == 0
            (container,) = containers(layout)
            assert (root_of(container) / "bin/app").exists()
            (root,) = layout.roots()
            assert (root.names, root.descriptor.digest) == ((), image.descriptor.digest)
            assert checked(tmp_path / "s").sound

    def test_a_place_that_cannot_be_leaves_nothing_that_stops_others(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            with pytest.raises(StorageError, match="too long"):
                create(layout, bundle=str(tmp_path / ("n" * 300)))
            assert leftovers(tmp_path / "s") == []
            create(layout)

    def test_what_cannot_be_removed_stops_nobody_and_is_tried_again(self, tmp_path: Path) -> None:
        staging = tmp_path / "s/.ocitool/unpacking"
        with store(tmp_path / "s", app=app()) as layout:
            for name in ("1-dead.one", "2-dead.two", "3-dead.three"):
                (staging / name).mkdir(parents=True)
            with small_disk(staging / "2-dead.two" / "busy"):
                create(layout)
                assert os.listdir(staging) == ["2-dead.two"]
                assert clear_leftovers(layout) == 0
            assert clear_leftovers(layout) == 1

    def test_gc_finds_and_removes_what_a_killed_create_left(self, tmp_path: Path) -> None:
        left = tmp_path / "s/.ocitool/unpacking/1-dead.xyz/deep/er"
        with store(tmp_path / "s", app=app()) as layout:
            left.mkdir(parents=True)
            (left / "file").write_bytes(bytes(5000))
            found = plan(layout, now=time.time())
            assert not found.is_empty
            (one,) = found.leftovers
            assert (one.path, one.size) == (".ocitool/unpacking/1-dead.xyz", 5000)
            done = sweep(layout, found, now=time.time())
            assert (done.leftovers, done.freed) == (1, 5000)
            assert leftovers(tmp_path / "s") == []
            assert plan(layout, now=time.time()).is_empty

    def test_two_at_once_share_one_tree(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            with paused(_CREATE, str(tmp_path / "s"), "", "unpack_image") as process:
                mine = create(layout, name="mine").container
                assert process.stdin is not None
                process.stdin.close()
                process.stdin = None
                assert process.wait(30) == 0
            assert {c.tree for c in containers(layout)} == {mine.tree}
            assert os.listdir(tmp_path / "s/.ocitool/unpacking") == []

    def test_a_tree_that_was_removed_meanwhile_is_unpacked_again(self, tmp_path: Path) -> None:
        with store(tmp_path / "s", app=app()) as layout:
            first = create(layout, name="first").container
            with paused(_CREATE, str(tmp_path / "s"), "", "write_config") as process:
                remove_container(layout, first.id)
                assert process.stdin is not None
                process.stdin.close()
                process.stdin = None
                assert process.wait(30) == 0
            (container,) = containers(layout)
            assert (root_of(container) / "bin/app").exists()


def test_a_layout_of_another_tool_keeps_no_containers(tmp_path: Path) -> None:
    with Layout.create(str(tmp_path / "l")) as layout:
        bring(layout, app(), NAME)
        with pytest.raises(UsageError):
            create(layout)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    from tests.support.disk import small_disk

    (tmp_path / "d").mkdir()
    image = app(None, layer_of(Node(path="big", data=bytes(4 << 20))))
    with (
        small_disk(tmp_path / "d", "1m"),
        store(tmp_path / "d/s", app=image) as layout,
    ):
        with pytest.raises(OcitoolError):
            create(layout)
        assert containers(layout) == []
        assert os.listdir(tmp_path / "d/s/.ocitool/unpacking") == []
