"""The parsers of package databases, on texts and bytes as the real tools write them."""

import contextlib
import io
import sqlite3
import struct
import zipfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.errors import IntegrityError, LimitExceeded, MalformedArchive, MalformedDocument
from ocitool.inside.facts.packages.go import build_info, go_packages
from ocitool.inside.facts.packages.java import java_packages, manifest_fields
from ocitool.inside.facts.packages.node import is_installed, locked_packages, node_package
from ocitool.inside.facts.packages.package import (
    Distribution,
    Package,
    PackageType,
    package_url,
)
from ocitool.inside.facts.packages.rpm import rpm_packages
from ocitool.inside.facts.packages.stanzas import (
    apk_packages,
    distribution_of,
    dpkg_packages,
    python_package,
)
from tests.inside.facts.databases import FORMS, database

STATUS = """\
Package: libc6
Status: install ok installed
Source: glibc (2.36-9)
Version: 2.36-9+deb12u4
Architecture: amd64
Description: GNU C Library
 Package: not-a-package
 .

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: half
Status: install ok half-installed
Version: 1.0
"""
APK = """\
C:Q1abc=
P:musl
V:1.2.4-r2
A:x86_64
L:MIT
o:musl-dev
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1xyz=

P:busybox
V:1.36.1-r5
"""
BUSYBOX = Package(type=PackageType.APK, name="busybox", version="1.36.1-r5", path="db")


class TestDpkg:
    def test_only_what_is_installed_counts(self) -> None:
        assert list(dpkg_packages(STATUS.encode(), "var/lib/dpkg/status")) == [
            Package(
                type=PackageType.DEB,
                name="libc6",
                version="2.36-9+deb12u4",
                architecture="amd64",
                source="glibc",
                path="var/lib/dpkg/status",
            )
        ]

    def test_a_file_of_status_d_has_no_status(self) -> None:
        data = b"Package: base-files\nVersion: 12.4\nArchitecture: arm64\n"
        (package,) = dpkg_packages(data, "var/lib/dpkg/status.d/base-files")
        assert (package.name, package.version, package.architecture) == (
            "base-files",
            "12.4",
            "arm64",
        )

    @given(st.binary(max_size=500))
    def test_any_bytes_are_read(self, data: bytes) -> None:
        assert all(package.name for package in dpkg_packages(data, "p"))

    @given(st.lists(st.text("abcz09+.-", min_size=2, max_size=20), max_size=20))
    def test_every_package_is_found_in_its_order(self, names: list[str]) -> None:
        text = "\n\n\n".join(f"Package: {name}\nVersion: 1" for name in names)
        assert [one.name for one in dpkg_packages(text.encode(), "p")] == names


class TestApk:
    def test_the_fields_of_packages_and_not_those_of_their_files(self) -> None:
        musl, busybox = apk_packages(APK.encode(), "db")
        assert musl == Package(
            type=PackageType.APK,
            name="musl",
            version="1.2.4-r2",
            architecture="x86_64",
            source="musl-dev",
            license="MIT",
            path="db",
        )
        assert busybox == BUSYBOX

    @given(st.binary(max_size=500))
    def test_any_bytes_are_read(self, data: bytes) -> None:
        assert all(package.name for package in apk_packages(data, "p"))


class TestPython:
    def test_the_header_ends_at_the_first_blank_line(self) -> None:
        data = b"Metadata-Version: 2.1\nName: Flask-Login\nVersion: 0.6\nLicense: MIT\n\nName: x\n"
        package = python_package(data, "p")
        assert package is not None
        assert (package.name, package.version, package.license) == ("Flask-Login", "0.6", "MIT")

    def test_without_a_name_there_is_no_package(self) -> None:
        assert python_package(b"\nName: x\n", "p") is None
        assert python_package(b"", "p") is None


class TestNode:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("app/node_modules/left-pad/package.json", True),
            ("app/node_modules/@babel/core/package.json", True),
            ("app/node_modules/a/node_modules/b/package.json", True),
            ("app/node_modules/a/lib/package.json", False),
            ("app/node_modules/@babel/package.json", False),
            ("app/package.json", False),
            ("package.json", False),
        ],
    )
    def test_which_package_json_is_an_installed_package(self, path: str, expected: bool) -> None:
        assert is_installed(path) is expected

    def test_the_scope_is_the_group(self) -> None:
        data = b'{"name": "@babel/core", "version": "7.1.0", "license": {"type": "MIT"}}'
        assert node_package(data, "p") == Package(
            type=PackageType.NODE,
            name="core",
            group="@babel",
            version="7.1.0",
            license="MIT",
            path="p",
        )

    @pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"name": 1}', b"{" * 100_000])
    def test_what_is_no_package_is_none(self, data: bytes) -> None:
        assert node_package(data, "p") is None

    def test_a_lock_file_names_what_production_installs(self) -> None:
        data = b"""{"packages": {"": {"name": "app"}, "node_modules/a": {"version": "1.0.0"},
        "node_modules/a/node_modules/@s/b": {"version": "2.0.0"}, "lib": {"link": true},
        "node_modules/jest": {"version": "3.0.0", "dev": true}}}"""
        found = [(one.full_name, one.version) for one in locked_packages(data, "p")]
        assert found == [("a", "1.0.0"), ("@s/b", "2.0.0")]

    def test_one_that_cannot_be_read_is_damage(self) -> None:
        for data in (b"", b"[]", b"{" * 1000):
            with pytest.raises(IntegrityError):
                list(locked_packages(data, "p"))

    def test_so_does_one_of_the_first_form(self) -> None:
        data = b"""{"dependencies": {"a": {"version": "1.0.0",
        "dependencies": {"b": {"version": "2.0.0"}}}, "c": {"version": "3", "dev": true}}}"""
        found = sorted((one.full_name, one.version) for one in locked_packages(data, "p"))
        assert found == [("a", "1.0.0"), ("b", "2.0.0")]


def go_binary(version: str, modules: str, *, before: int = 5000, flags: int = 2) -> bytes:
    """Return bytes with the build information as Go's linker lays it out."""
    begin = bytes.fromhex("3077af0c9274080241e1c107e6d618e6")
    end = bytes.fromhex("f932433186182072008242104116d8f2")
    text = begin + modules.encode() + end
    header = (b"\xff Go buildinf:" + bytes([8, flags])).ljust(32, b"\0")
    body = varint(len(version)) + version.encode() + varint(len(text)) + text
    return b"\x7fELF" + bytes(before) + header + body + bytes(3000)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def in_chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


MODULES = (
    "path\texample.com/app\nmod\texample.com/app\t(devel)\t\ndep\tgithub.com/a/b\tv1.2.3\th1:x=\n"
    "dep\tgithub.com/old/c\tv0.1.0\n=>\tgithub.com/New/c\tv0.2.0\th1:y=\nbuild\t-compiler=gc\n"
)


class TestGo:
    @given(st.integers(0, 40), st.integers(1, 9000))
    def test_it_is_found_however_the_file_is_cut(self, before: int, size: int) -> None:
        data = go_binary("go1.22.1", MODULES, before=before)
        assert build_info(in_chunks(data, size)) == ("go1.22.1", MODULES)

    def test_the_modules_with_what_replaces_them(self) -> None:
        found = [(one.name, one.version) for one in go_packages("go1.22.1", MODULES, "p")]
        assert found == [
            ("stdlib", "1.22.1"),
            ("example.com/app", None),
            ("github.com/a/b", "v1.2.3"),
            ("github.com/New/c", "v0.2.0"),
        ]

    def test_a_binary_before_go_1_18_points_to_its_texts(self) -> None:
        assert build_info([go_binary("go1.17", "", flags=0)]) == ("", "")

    def test_a_program_that_only_mentions_the_magic_has_none(self) -> None:
        data = bytes(100) + b"\xff Go buildinf:" + b"not aligned and nothing behind it" + bytes(99)
        assert build_info([data]) is None
        assert build_info([data, go_binary("go1.20", MODULES)]) == ("go1.20", MODULES)

    @given(st.binary(max_size=200), st.integers(1, 50))
    def test_any_bytes_after_a_magic_are_read(self, data: bytes, size: int) -> None:
        build_info(in_chunks(b"\xff Go buildinf:" + data, size))


def jar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


POM = b"#Generated\ngroupId=org.acme\nartifactId=core\nversion=2.1\n"


class TestJava:
    def found(self, data: bytes, path: str) -> list[tuple[str, str | None]]:
        return [(one.full_name, one.version) for one in java_packages(data, path)]

    def test_maven_coordinates_come_first(self) -> None:
        data = jar(
            {
                "META-INF/maven/org.acme/core/pom.properties": POM,
                "META-INF/MANIFEST.MF": b"Implementation-Title: Other\nImplementation-Version: 9\n",
            }
        )
        assert self.found(data, "app/x.jar") == [("org.acme:core", "2.1")]

    def test_else_the_name_of_the_file_and_the_manifest(self) -> None:
        data = jar({"META-INF/MANIFEST.MF": b"Implementation-Vendor-Id: org.x\r\n\r\n"})
        assert self.found(data, "l/guava-33.0-jre.jar") == [("org.x:guava", "33.0-jre")]
        data = jar({"META-INF/MANIFEST.MF": b"Bundle-SymbolicName: a.b;x=y\nBundle-Version: 4\n"})
        assert self.found(data, "l/ab.jar") == [("a.b", "4")]
        assert self.found(jar({"A.class": b""}), "l/snake-1.2.jar") == [("snake", "1.2")]

    def test_jars_inside_a_jar_are_read_one_level_deep(self) -> None:
        inner = jar({"META-INF/maven/org.acme/core/pom.properties": POM, "z.jar": jar({})})
        data = jar({"BOOT-INF/lib/core-2.1.jar": inner, "BOOT-INF/lib/broken.jar": b"PK"})
        (package,) = java_packages(data, "app.jar")
        assert package.path == "app.jar!/BOOT-INF/lib/core-2.1.jar"
        assert package.full_name == "org.acme:core"

    def test_what_is_no_zip_is_refused(self) -> None:
        for data in (b"", b"PK", jar({"a": b"b"})[:-30]):
            with pytest.raises(MalformedArchive):
                list(java_packages(data, "a.jar"))

    def test_a_bomb_of_a_directory_is_refused_before_it_is_read(self) -> None:
        data = bytearray(jar({"a": b"b"}))
        end = data.rfind(b"PK\x05\x06")
        data[end + 12 : end + 16] = struct.pack("<I", 1 << 30)
        with pytest.raises(LimitExceeded, match="directory"):
            list(java_packages(bytes(data), "a.jar"))

    def test_a_jar_inside_that_claims_to_be_huge_is_refused(self) -> None:
        data = jar({"x.jar": bytes(100)})
        at = data.rfind(b"PK\x01\x02") + 24
        huge = data[:at] + struct.pack("<I", 1 << 31) + data[at + 4 :]
        with pytest.raises(LimitExceeded, match="inside it"):
            list(java_packages(huge, "a.jar"))

    def test_entries_that_share_one_bomb_are_refused(self) -> None:
        pom = "META-INF/maven/g/a{:05}/pom.properties"
        data = jar({pom.format(number): b"version=1\n" + bytes(1 << 20) for number in range(129)})
        with pytest.raises(LimitExceeded, match="inside it"):
            list(java_packages(data, "a.jar"))

    @given(st.integers(0, 400), st.integers(0, 255))
    def test_damage_is_a_refusal_or_no_harm(self, at: int, value: int) -> None:
        data = bytearray(jar({"META-INF/maven/org.acme/core/pom.properties": POM}))
        data[at % len(data)] = value
        with contextlib.suppress(IntegrityError):
            list(java_packages(bytes(data), "a.jar"))

    def test_a_line_of_a_manifest_goes_on_behind_a_space(self) -> None:
        assert manifest_fields(b"A: long\r\n er\r\nB: c\r\n\r\nName: x\r\nD: e\r\n") == {
            "A": "longer",
            "B": "c",
        }


def rpm_header(name: str, *, epoch: int | None = None) -> bytes:
    """Return an rpm header as rpm's manual lays it out."""
    texts = {
        1000: name,
        1001: "5.2.15",
        1002: "3.fc39",
        1014: "GPL-3.0",
        1022: "x86_64",
        1044: f"{name}-5.2.15-3.fc39.src.rpm",
    }
    data, index = b"", []
    if epoch is not None:
        index.append((1003, 4, 0, 1))
        data = struct.pack(">I", epoch)
    for tag, text in texts.items():
        index.append((tag, 6, len(data), 1))
        data += text.encode() + b"\0"
    fields = b"".join(struct.pack(">4I", *one) for one in index)
    return struct.pack(">2I", len(index), len(data)) + fields + data


def sqlite_database(script: str, *blobs: bytes) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    for blob in blobs:
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", (blob,))
    connection.commit()
    data = connection.serialize()
    connection.close()
    return data


def with_packages(*blobs: bytes) -> bytes:
    table = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)"
    return sqlite_database(table, *blobs)


class TestRpm:
    def test_a_database_of_sqlite(self) -> None:
        data = with_packages(
            rpm_header("bash"), rpm_header("gpg-pubkey"), rpm_header("dbus", epoch=1)
        )
        bash, dbus = rpm_packages(data, "rpmdb.sqlite")
        assert bash == Package(
            type=PackageType.RPM,
            name="bash",
            version="5.2.15-3.fc39",
            architecture="x86_64",
            source="bash",
            license="GPL-3.0",
            path="rpmdb.sqlite",
        )
        assert (dbus.name, dbus.epoch) == ("dbus", 1)

    def test_one_that_was_left_in_wal_mode_but_was_checkpointed(self) -> None:
        data = bytearray(with_packages(rpm_header("bash")))
        data[18:20] = b"\2\2"
        assert [one.name for one in rpm_packages(bytes(data), "p")] == ["bash"]

    def test_a_view_in_place_of_the_table_is_refused(self) -> None:
        loop = (
            "CREATE VIEW Packages AS WITH RECURSIVE c(hnum, blob) AS "
            "(SELECT 1, x'00' UNION ALL SELECT hnum + 1, x'00' FROM c) SELECT * FROM c"
        )
        data = sqlite_database(loop)
        with pytest.raises(MalformedDocument, match="no table"):
            list(rpm_packages(data, "p"))

    def test_slots_that_share_one_blob_are_refused(self) -> None:
        blob = rpm_header("bash") + bytes(9000)
        head = b"BlbS" + struct.pack("<3I", 1, 0, len(blob))
        slot = b"Slot" + struct.pack("<3I", 1, 256, 4096)
        page = b"RpmP" + struct.pack("<7I", 0, 1, 1, 2, 0, 0, 0) + slot * 254
        with pytest.raises(LimitExceeded, match="share"):
            list(rpm_packages(page + head + blob, "p"))

    def test_damage_is_refused(self) -> None:
        whole = with_packages(rpm_header("bash"))
        for data in (b"", b"RpmP", b"SQLite format 3\0", whole[:5000], whole[:100], bytes(600)):
            with pytest.raises(MalformedDocument):
                list(rpm_packages(data, "p"))

    @given(st.integers(0, 1 << 20), st.integers(0, 255))
    def test_a_damaged_header_is_a_refusal_or_no_harm(self, at: int, value: int) -> None:
        blob = bytearray(rpm_header("bash"))
        blob[at % len(blob)] = value
        with contextlib.suppress(MalformedDocument):
            list(rpm_packages(with_packages(bytes(blob)), "p"))

    @given(st.binary(max_size=3000))
    def test_any_bytes_behind_a_magic_are_a_refusal_or_no_harm(self, data: bytes) -> None:
        slots = (b"RpmP" + bytes(8) + b"\1\0\0\0" + bytes(16) + b"Slot" + data).ljust(8192, b"\0")
        meta = bytes(12) + b"\x61\x15\x06\x00" + struct.pack("<II", 9, 512) + bytes(488)
        page = bytes(20) + data[:5] + b"\x0d" + data[5:]
        for data in (slots, meta + page.ljust(1024, b"\0")):
            with contextlib.suppress(IntegrityError):
                list(rpm_packages(data, "p"))


class TestWrittenByRpm:
    """Databases that rpm 4.18 and Berkeley DB 5.3 wrote, with a package of 900 files."""

    @pytest.mark.parametrize("form", FORMS)
    def test_all_packages_with_their_fields(self, form: str) -> None:
        found = {one.name: one for one in rpm_packages(database(form), "p")}
        assert set(found) == {"alpha", "beta-devel", "many"}
        alpha = found["alpha"]
        assert (alpha.version, alpha.epoch, alpha.architecture) == ("1.2.3-4", 2, "noarch")
        assert (alpha.license, alpha.source) == ("MIT AND BSD-3-Clause", "alpha")
        assert (found["beta-devel"].version, found["beta-devel"].source) == ("0.9~rc1-1", "beta")

    @pytest.mark.parametrize("form", FORMS)
    def test_a_database_that_is_cut_is_a_refusal(self, form: str) -> None:
        data = database(form)
        with pytest.raises(MalformedDocument):
            assert len(list(rpm_packages(data[: len(data) // 3], "p"))) == 3


class TestPackageUrl:
    DEBIAN = Distribution(id="debian", version="12", name="Debian GNU/Linux 12 (bookworm)")

    @pytest.mark.parametrize(
        ("package", "expected"),
        [
            (
                Package(
                    type=PackageType.DEB,
                    name="libc6",
                    version="2.36-9+deb12u4",
                    architecture="amd64",
                    source="glibc",
                ),
                "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc",
            ),
            (
                Package(type=PackageType.RPM, name="dbus", version="1-2", epoch=1),
                "pkg:rpm/debian/dbus@1-2?distro=debian-12&epoch=1",
            ),
            (
                Package(type=PackageType.PYTHON, name="Flask_Login", version="0.6"),
                "pkg:pypi/flask-login@0.6",
            ),
            (
                Package(type=PackageType.NODE, name="core", group="@babel", version="7.1.0"),
                "pkg:npm/%40babel/core@7.1.0",
            ),
            (
                Package(type=PackageType.GO, name="github.com/a/b", version="v1.2.3"),
                "pkg:golang/github.com/a/b@v1.2.3",
            ),
            (
                Package(type=PackageType.JAVA, name="core", group="org.acme", version="2.1"),
                "pkg:maven/org.acme/core@2.1",
            ),
        ],
    )
    def test_it_is_what_the_specification_says(self, package: Package, expected: str) -> None:
        assert package_url(package, self.DEBIAN) == expected

    def test_an_os_release_tells_the_distribution(self) -> None:
        data = b'# x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
        assert distribution_of(data) == self.DEBIAN
