"""container diff, commit, export, cp and inspect as a user sees them."""

import gzip
import os
import tarfile
from pathlib import Path

import pytest

from ocitool.containers.sharing import can_share
from tests.support.command import Command
from tests.support.images import build_image, oci_archive
from tests.support.root_files import Node, folder, layer_of, link, program

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and marks")
BOTH = pytest.mark.parametrize("options", [(), ("--copy",)], ids=["overlay", "copy"])


@pytest.fixture
def filled(ocitool: Command, tmp_path: Path) -> Command:
    """Return the command with an image app:1."""
    layer = layer_of(
        program("bin/app", b"x"),
        folder("etc"),
        Node(path="etc/motd", data=b"hello\n"),
        Node(path="etc/old", data=b"old\n"),
        Node(path="etc/hosts", data=b""),
        link("etc/to", "motd"),
    )
    app = build_image([layer], config={"config": {"Entrypoint": ["/bin/app"]}})
    archive = tmp_path / "x.tar"
    archive.write_bytes(oci_archive({"app:1": app}))
    assert ocitool("load", archive).code == 0
    return ocitool


def create(command: Command, *options: str) -> Path:
    """Make a container `web`; return the folder in which it writes."""
    created = command("container", "create", "--name", "web", *options, "--json", "app:1").json
    assert isinstance(created, dict)
    bundle = Path(created["bundle"])
    if not options and not can_share(str(bundle), rootless=os.geteuid() != 0):
        pytest.skip("no overlay can be laid over this folder")
    return bundle / ("rootfs" if options else "upper")


def change_some(written: Path) -> None:
    """Change, add and delete a file, as a container does."""
    (written / "etc").mkdir(exist_ok=True)
    (written / "etc/motd").write_text("bye\n")
    (written / "etc/new").write_text("new\n")
    (written / "etc/hosts").write_text("127.0.0.1 localhost\n")
    if written.name == "upper":
        os.mknod(written / "etc/old", 0o20000, 0)
    else:
        (written / "etc/old").unlink()


CHANGED = ["C /etc", "C /etc/motd", "A /etc/new", "D /etc/old"]


class TestDiff:
    @needs_root
    @BOTH
    def test_it_lists_changes_in_dockers_letters(
        self, filled: Command, options: tuple[str, ...]
    ) -> None:
        written = create(filled, *options)
        assert filled("container", "diff", "web").out == ""
        change_some(written)
        assert filled("container", "diff", "web").out.splitlines() == CHANGED
        only = filled("container", "diff", "web", "-q").out.splitlines()
        assert only == [line[2:] for line in CHANGED]

    @needs_root
    def test_a_copy_is_compared_by_content_where_size_and_time_are_equal(
        self, filled: Command
    ) -> None:
        motd = create(filled, "--copy") / "etc/motd"
        status = motd.stat()
        motd.write_text("HELLO\n")
        os.utime(motd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        assert filled("container", "diff", "web").out == "C /etc\nC /etc/motd\n"

    def test_odd_names_are_escaped_and_exact_in_json(self, filled: Command) -> None:
        written = create(filled, "--copy")
        (written / os.fsdecode(b"a\nb\x1b[31m\xff")).touch()
        done = filled("container", "diff", "web")
        assert done.out == "A /a\\x0ab\\x1b[31m\\udcff\n"
        assert filled("container", "diff", "web", "--json").json == [
            {"change": "A", "path": "a\nb\x1b[31m\ufffd", "path_bytes": "YQpiG1szMW3/"}
        ]

    def test_a_container_that_is_not_there_is_told(self, filled: Command) -> None:
        assert filled("container", "diff", "web").code == 4
        written = create(filled, "--copy")
        os.rename(written.parent, f"{written.parent}-away")
        done = filled("container", "diff", "web")
        assert done.code == 4
        assert "`ocitool container rm web` removes its record" in done.err


class TestCommit:
    @needs_root
    def test_it_prints_the_digest_and_tells_what_the_layer_holds(self, filled: Command) -> None:
        change_some(create(filled))
        done = filled("container", "commit", "web", "kept:1", "-a", "me", "-c", "CMD x")
        (line,) = done.out.splitlines()
        assert done.code == 0
        assert "kept:1: a layer of " in done.err
        assert "with 1 added, 2 changed, 1 deleted" in done.err
        listed = filled("images", "--no-trunc", "kept:1", "--json").json
        assert isinstance(listed, list)
        assert listed[0]["digest"] == line
        cat = filled("files", "cat", "kept:1", "/etc/to")
        assert cat.out == "bye\n"
        assert filled("files", "ls", "kept:1", "/etc").out.split() == [
            "hosts",
            "motd",
            "new",
            "to",
        ]

    def test_what_cannot_be_is_told(self, filled: Command) -> None:
        create(filled, "--copy")
        for arguments, problem in (
            (("-c", "RUN x"), "'RUN x' is not an instruction that changes"),
            (("--compression", "xz"), "'xz' is not a compression"),
        ):
            done = filled("container", "commit", "web", "kept:1", *arguments)
            assert (done.code, problem in done.err) == (2, True), done.err
        done = filled("container", "commit", "web", "oci:kept:1")
        assert (done.code, "`ocitool copy app:kept oci:kept:1`" in done.err) == (2, True)
        odd = {"SOURCE_DATE_EPOCH": "yesterday"}
        done = filled("container", "commit", "web", "kept:1", variables=odd)
        assert done.code == 2
        assert "set SOURCE_DATE_EPOCH to a number" in done.err


class TestExport:
    @needs_root
    @BOTH
    def test_the_tar_has_what_the_container_sees(
        self, filled: Command, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        change_some(create(filled, *options))
        done = filled("container", "export", "web", "-o", tmp_path / "web.tar")
        assert (done.code, done.out) == (0, f"Exported: {tmp_path}/web.tar\n")
        with tarfile.open(tmp_path / "web.tar") as tar:
            names = tar.getnames()
        assert names == ["bin", "bin/app", "etc", "etc/hosts", "etc/motd", "etc/new", "etc/to"]

    def test_a_tar_is_not_written_beside_json_nor_to_nothing(self, filled: Command) -> None:
        create(filled, "--copy")
        assert filled("container", "export", "web", "--json").code == 2
        assert filled("container", "export", "web", "-o", "").code == 2


class TestInspect:
    def test_a_template_picks_from_it(self, filled: Command) -> None:
        create(filled, "--copy")
        done = filled("container", "inspect", "web", "--format", "{{.Name}} {{.State.Status}}")
        assert done.out == "/web created\n"
        value = filled("container", "inspect", "web", "--format", "{{json .Config.Entrypoint}}")
        assert value.out == '["/bin/app"]\n'
        shown = filled("container", "inspect", "web")
        assert shown.json == filled("container", "inspect", "web", "--json").json

    def test_what_is_not_there_is_told(self, filled: Command) -> None:
        create(filled, "--copy")
        assert filled("container", "inspect", "nobody").code == 4
        done = filled("container", "inspect", "web", "--format", "{{.SizeRw}}")
        assert done.code == 2


class TestCp:
    def test_files_go_in_and_out(self, filled: Command, tmp_path: Path) -> None:
        create(filled, "--copy")
        (tmp_path / "mine").write_text("mine\n")
        done = filled("container", "cp", tmp_path / "mine", "web:/etc")
        assert (done.code, done.out) == (0, "Copied: web:/etc/mine\n")
        assert "1 member, 5 B" in done.err
        out = filled("container", "cp", "web:/etc/mine", tmp_path / "back", "-q")
        assert out.out == f"{tmp_path}/back\n"
        assert (tmp_path / "back").read_text() == "mine\n"

    def test_a_pipe_carries_a_tar(self, filled: Command) -> None:
        create(filled, "--copy")
        tar = filled.run_bytes("container", "cp", "web:/etc", "-").stdout
        done = filled("container", "cp", "-", "web:/bin", stdin=gzip.compress(tar))
        assert done.code == 0
        assert filled("container", "diff", "web").out.splitlines() == [
            "C /bin",
            "A /bin/etc",
            "A /bin/etc/hosts",
            "A /bin/etc/motd",
            "A /bin/etc/old",
            "A /bin/etc/to",
        ]

    @pytest.mark.parametrize(
        ("words", "code", "problem"),
        [
            (("x", "y"), 2, "one of SRC and DEST"),
            (("web:/x", "web:/y"), 2, "one of SRC and DEST"),
            (("web:", "y"), 2, "write web:/PATH"),
            (("nobody:/x", "y"), 4, "there is no container"),
            (("web:/nothing", "y"), 4, "'/nothing' is not there"),
            (("./a:b", "web:/"), 4, "'./a:b' is not there"),
            (("web:/etc", "-", "--json"), 2, "cannot both go to stdout"),
        ],
    )
    def test_what_cannot_be_is_told(
        self, filled: Command, words: tuple[str, ...], code: int, problem: str
    ) -> None:
        create(filled, "--copy")
        done = filled("container", "cp", *words)
        assert (done.code, problem in done.err) == (code, True), done.err
