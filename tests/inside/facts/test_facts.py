"""The facts of whole images: 30 planted ones are found, and nothing in five clean images."""

import json
from pathlib import Path

import pytest

from ocitool.errors import DigestMismatch
from ocitool.inside.facts.gathering import gather_facts
from ocitool.inside.facts.report import Facts, ImageClass, Loose, Secret
from ocitool.inside.image import look_inside
from ocitool.places.layout import Layout
from tests.inside.facts import planted
from tests.inside.facts.scenes import SECRETS, clean_images, planted_image, text
from tests.support.images import BuiltImage
from tests.support.root_files import Node, folder, hard_link, link, program
from tests.support.small_images import CODECS, file, gone, small_image, write_image

CLEAN = {
    "scratch": ImageClass.SCRATCH,
    "distroless": ImageClass.DISTROLESS,
    "python": ImageClass.SCRATCH,
    "example": ImageClass.SCRATCH,
    "certificates": ImageClass.SCRATCH,
}


def facts_of(image: BuiltImage, place: Path) -> Facts:
    with Layout.existing(str(write_image(place, image))) as layout:
        (root,) = layout.roots()
        return gather_facts(look_inside(layout, root))


@pytest.fixture(scope="module", params=CODECS)
def facts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return facts_of(planted_image(request.param), tmp_path_factory.mktemp("planted"))


def where(secrets: tuple[Secret, ...]) -> dict[str, str]:
    return {one.path or f"{one.place}:{one.name}": one.kind for one in secrets}


class TestPlanted:
    def test_shells_and_what_is_behind_them(self, facts: Facts) -> None:
        assert {(one.path, one.file) for one in facts.shells} == {
            ("bin/bash", "usr/bin/bash"),
            ("bin/dash", "usr/bin/dash"),
            ("bin/sh", "usr/bin/busybox"),
            ("bin/busybox", "usr/bin/busybox"),
        }

    def test_package_managers_but_not_busyboxs_own_rpm(self, facts: Facts) -> None:
        assert {one.path for one in facts.package_managers} == {"sbin/apk", "bin/dnf"}

    def test_the_package_of_status_d(self, facts: Facts) -> None:
        (package,) = facts.packages
        assert (package.name, package.path) == ("base-files", "var/lib/dpkg/status.d/base")

    def test_c_libraries_certificates_and_time_zones(self, facts: Facts) -> None:
        assert [(one.name, one.version, one.path) for one in facts.c_libraries] == [
            ("glibc", "2.36", "usr/lib/x86_64-linux-gnu/libc.so.6"),
            ("musl", None, "usr/lib/ld-musl-x86_64.so.1"),
        ]
        (bundle,) = facts.ca_bundles
        assert (bundle.path, bundle.certificates) == ("etc/ssl/certs/ca-certificates.crt", 3)
        assert facts.zoneinfo == ("usr/share/zoneinfo",)

    def test_files_with_unusual_rights(self, facts: Facts) -> None:
        assert [(one.rule, one.path, one.mode, one.layer) for one in facts.loose] == [
            (Loose.WRITABLE, "etc/open", 0o666, 1),
            (Loose.SETUID, "usr/bin/su", 0o4755, 1),
            (Loose.SETGID, "usr/bin/wall", 0o2755, 1),
        ]

    def test_every_secret_and_nothing_else(self, facts: Facts) -> None:
        assert where(facts.secrets) == {
            "app/.env": "secret in env file",
            "app/.git/config": "git credentials",
            "app/key.json": "GCP service account key",
            "app/old.pem": "EC private key",
            "app/settings.env": "secret in env file",
            "app/tls/server.key": "private key",
            "etc/pip.conf": "pip password",
            "root/.aws/credentials": "AWS credentials",
            "root/.docker/config.json": "registry login",
            "root/.kube/config": "kubeconfig",
            "root/.netrc": "netrc password",
            "root/.npmrc": "npm token",
            "root/.pypirc": "PyPI password",
            "root/.ssh/id_ed25519": "SSH private key",
            "root/.ssh/id_rsa": "RSA private key",
            "env:API_PASSWORD": "secret variable",
            "history:BUILD_TOKEN": "secret variable",
        }

    def test_hidden_ones_say_by_what_and_from_which_step_they_are(self, facts: Facts) -> None:
        hidden = [one for one in facts.secrets if one.hidden_by is not None]
        assert [(one.path, one.how, one.hidden_by, one.layer) for one in hidden] == [
            ("app/old.pem", "deleted", 4, 2),
            ("app/settings.env", "overwritten", 4, 2),
        ]
        assert {one.instruction for one in hidden} == {"COPY . /"}

    def test_the_class_and_why(self, facts: Facts) -> None:
        assert facts.image_class is ImageClass.FULL
        assert "package manager apk, dnf" in facts.reasons

    def test_no_value_of_the_result_holds_a_secret(self, facts: Facts) -> None:
        shown = repr(facts)
        for secret in SECRETS:
            assert secret not in shown
            assert json.dumps(secret)[1:-1] not in shown
            # Nor a line of a key.
            assert not [line for line in secret.splitlines()[1:-1] if line in shown]


class TestClean:
    @pytest.mark.parametrize("name", CLEAN)
    def test_nothing_is_found(self, name: str, tmp_path: Path) -> None:
        facts = facts_of(clean_images()[name], tmp_path)
        assert facts.secrets == ()
        assert facts.loose == ()
        assert facts.unread == ()
        assert facts.image_class is CLEAN[name]


STATUS = "Package: {}\nStatus: install ok installed\nVersion: 1\n"


class TestTheTree:
    def test_a_database_behind_links_is_found_once(self, tmp_path: Path) -> None:
        image = small_image(
            [
                text("usr/share/db/status", STATUS.format("a")),
                link("var/lib/dpkg", "../../usr/share/db"),
                text("usr/lib/apk/db/installed", "P:b\nV:2\n"),
                link("lib", "usr/lib"),
            ]
        )
        found = {(one.name, one.path) for one in facts_of(image, tmp_path).packages}
        assert found == {("a", "usr/share/db/status"), ("b", "usr/lib/apk/db/installed")}

    def test_what_a_later_layer_deletes_is_not_installed(self, tmp_path: Path) -> None:
        image = small_image(
            [
                text("var/lib/dpkg/status", STATUS.format("a")),
                text("app/x-1.dist-info/METADATA", "Name: x\nVersion: 1\n"),
                text("app/y-1.dist-info/METADATA", "Name: y\nVersion: 1\n"),
            ],
            [text("var/lib/dpkg/status", STATUS.format("b")), gone("app/x-1.dist-info")],
        )
        assert [one.name for one in facts_of(image, tmp_path).packages] == ["b", "y"]

    def test_an_rpm_database_with_a_log_is_refused(self, tmp_path: Path) -> None:
        image = small_image(
            [
                link("var/lib/rpm", "../../usr/lib/sysimage/rpm"),
                text("usr/lib/sysimage/rpm/rpmdb.sqlite", "SQLite format 3\0"),
                text("usr/lib/sysimage/rpm/rpmdb.sqlite-wal", "pages"),
            ]
        )
        facts = facts_of(image, tmp_path)
        (unread,) = facts.unread
        assert unread.path == "usr/lib/sysimage/rpm/rpmdb.sqlite"
        assert "write-ahead log" in unread.reason
        assert facts.packages == ()

    def test_a_damaged_database_is_told(self, tmp_path: Path) -> None:
        image = small_image([text("var/lib/rpm/Packages.db", "RpmP" + "\0" * 40)])
        (unread,) = facts_of(image, tmp_path).unread
        assert (unread.path, unread.layer) == ("var/lib/rpm/Packages.db", 1)

    def test_files_inside_a_lock_file_count_only_where_nothing_is_installed(
        self, tmp_path: Path
    ) -> None:
        lock = '{"packages": {"node_modules/z": {"version": "2"}}}'
        image = small_image(
            [
                text("a/package-lock.json", lock),
                text("a/node_modules/left/package.json", '{"name": "left", "version": "1"}'),
                text("b/package-lock.json", lock),
            ]
        )
        found = {(one.name, one.path) for one in facts_of(image, tmp_path).packages}
        assert found == {
            ("left", "a/node_modules/left/package.json"),
            ("z", "b/package-lock.json"),
        }

    def test_empty_and_large_files_are_not_read_for_secrets(self, tmp_path: Path) -> None:
        secret = f"TOKEN={planted.GITHUB}\n"
        large = file("app/large.env", (1 << 20) + 1, secret)
        image = small_image([text("app/.env", ""), large, file("app/b.env", 1 << 20, secret)])
        assert [one.path for one in facts_of(image, tmp_path).secrets] == ["app/b.env"]

    def test_every_name_of_a_file_with_unusual_rights(self, tmp_path: Path) -> None:
        image = small_image(
            [
                Node(path="bin/sudo", data=b"x", mode=0o4755),
                hard_link("bin/sudoedit", "bin/sudo"),
                Node(path="bin/gone", data=b"x", mode=0o4755),
                folder("srv", mode=0o777),
            ],
            [gone("bin/gone"), folder("srv", mode=0o755)],
        )
        found = [(one.rule, one.path) for one in facts_of(image, tmp_path).loose]
        assert found == [(Loose.SETUID, "bin/sudo"), (Loose.SETUID, "bin/sudoedit")]

    def test_a_passphrase_is_cut_out_of_the_step_that_sets_it(self, tmp_path: Path) -> None:
        phrase = "correct horse battery staple"
        image = small_image(
            [file("a", 1)],
            steps=[f"/bin/sh -c #(nop) ENV DB_PASSWORD={phrase}"],
            config={"config": {"Env": [f"DB_PASSWORD={phrase}"], "Labels": {phrase: phrase}}},
        )
        facts = facts_of(image, tmp_path)
        assert ("env", "DB_PASSWORD") in [(one.place, one.name) for one in facts.secrets]
        assert "horse" not in repr(facts)

    def test_a_secret_overwritten_in_the_same_layer_is_found(self, tmp_path: Path) -> None:
        secret = f"TOKEN={planted.GITHUB}\n"
        image = small_image([text("app/.env", secret), text("app/.env", "A=1\n")])
        (found,) = facts_of(image, tmp_path).secrets
        assert (found.path, found.how, found.hidden_by) == ("app/.env", "repeated", 1)

    def test_a_layer_that_is_there_twice_is_read_once_and_seen(self, tmp_path: Path) -> None:
        layer = [text("app/.env", f"TOKEN={planted.GITHUB}\n")]
        image = small_image(layer, [gone("app/.env")], layer)
        (found,) = facts_of(image, tmp_path).secrets
        assert (found.layer, found.hidden_by) == (3, None)

    def test_a_file_of_a_removed_folder_is_hidden_by_its_removal(self, tmp_path: Path) -> None:
        image = small_image([text("app/a/.env", f"TOKEN={planted.GITHUB}\n")], [gone("app")])
        (found,) = facts_of(image, tmp_path).secrets
        assert (found.how, found.hidden_by) == ("deleted", 2)

    def test_a_layer_that_changed_since_its_table_was_made_is_damage(self, tmp_path: Path) -> None:
        image = small_image([text("app/.env", "A=1\n"), file("end", 1 << 20)], codec="gzip")
        path = write_image(tmp_path, image)
        with Layout.existing(str(path)) as layout:
            inside = look_inside(layout, layout.roots()[0])
            blob = path / "blobs" / "sha256" / image.layers[0].digest.hex
            blob.write_bytes(blob.read_bytes()[:-1] + b"\xff")
            with pytest.raises(DigestMismatch):
                gather_facts(inside)

    def test_large_databases_are_told_and_not_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ocitool.inside.facts import candidates

        monkeypatch.setitem(candidates.LIMITS, candidates.Purpose.DPKG, 10)
        image = small_image([text("var/lib/dpkg/status", STATUS.format("a"))])
        (unread,) = facts_of(image, tmp_path).unread
        assert unread.path == "var/lib/dpkg/status"
        assert "more than 10" in unread.reason

    def test_hard_links_and_links_do_not_repeat_a_shell(self, tmp_path: Path) -> None:
        image = small_image(
            [
                program("bin/busybox", b"x"),
                hard_link("bin/sh", "bin/busybox"),
                hard_link("bin/dpkg", "bin/busybox"),
                link("usr/bin", "../bin"),
            ]
        )
        facts = facts_of(image, tmp_path)
        assert [one.path for one in facts.shells] == ["bin/sh", "bin/busybox"]
        assert facts.package_managers == ()
        assert facts.image_class is ImageClass.MINIMAL

    def test_folders_that_all_may_write_and_capabilities(self, tmp_path: Path) -> None:
        capable = {"security.capability": "x"}
        image = small_image(
            [
                folder("tmp", mode=0o1777),
                folder("srv/open", mode=0o777),
                file("usr/bin/ping", 1, mode=0o755, attributes=capable),
                Node(path="dev/null", type=b"3", device=(1, 3), mode=0o666),
            ]
        )
        found = {(one.rule, one.path) for one in facts_of(image, tmp_path).loose}
        assert found == {(Loose.WRITABLE, "srv/open"), (Loose.CAPABILITIES, "usr/bin/ping")}

    def test_an_image_without_layers_is_made_from_scratch(self, tmp_path: Path) -> None:
        assert facts_of(small_image(), tmp_path).image_class is ImageClass.SCRATCH
