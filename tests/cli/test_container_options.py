"""The words of `container create`: docker's, read into the values of the library."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ocitool.cli.options.containers.limits import parse_cpus, parse_ulimit
from ocitool.cli.options.containers.mounts import parse_mount, parse_tmpfs, parse_volume
from ocitool.cli.options.containers.network import parse_host
from ocitool.cli.options.containers.process import parse_variable
from ocitool.containers.options import Bind, Tmpfs, Ulimit
from ocitool.errors import UsageError
from tests.support.command import Command
from tests.support.images import build_image, oci_archive
from tests.support.root_files import folder, layer_of, program


@pytest.fixture
def filled(ocitool: Command, tmp_path: Path) -> Command:
    """Return the command with an image app:1."""
    layer = layer_of(program("bin/app", b"x"), folder("etc"))
    app = build_image([layer], config={"config": {"Entrypoint": ["/bin/app"]}})
    archive = tmp_path / "x.tar"
    archive.write_bytes(oci_archive({"app:1": app}))
    assert ocitool("load", archive).code == 0
    return ocitool


class TestC1Volumes:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("/a:/b", Bind(source="/a", target="/b")),
            ("/a:/b/:ro", Bind(source="/a", target="/b", read_only=True)),
            (
                "/a:/b:rslave,ro",
                Bind(source="/a", target="/b", read_only=True, propagation="rslave"),
            ),
            ("/a:/b:cached,rw", Bind(source="/a", target="/b")),
            ("/b", "/b"),
        ],
    )
    def test_the_short_form(self, text: str, expected: object) -> None:
        assert parse_volume(text, print) == expected

    def test_a_word_without_effect_is_told(self) -> None:
        told: list[str] = []
        assert parse_volume("/a:/b:z,ro", told.append) == Bind(
            source="/a", target="/b", read_only=True
        )
        assert told == [
            "-v /a:/b:z,ro: z has no effect, because SELinux labels are not changed here"
        ]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("type=bind,source=/a,target=/b", Bind(source="/a", target="/b")),
            (
                "type=bind,src=/a,dst=/b,ro,bind-propagation=slave,bind-nonrecursive=true",
                Bind(
                    source="/a", target="/b", read_only=True, propagation="slave", recursive=False
                ),
            ),
            ('type=bind,"source=/a,b",target=/b:c', Bind(source="/a,b", target="/b:c")),
            ("type=tmpfs,destination=/t", Tmpfs(target="/t")),
            (
                "type=tmpfs,target=/t,tmpfs-size=1536k,tmpfs-mode=01770",
                Tmpfs(target="/t", options=("mode=1770", "size=1536k")),
            ),
            ("target=/v", "/v"),
            ("type=volume,dst=/v", "/v"),
        ],
    )
    def test_the_long_form(self, text: str, expected: object) -> None:
        assert parse_mount(text) == expected

    def test_a_folder_in_memory(self) -> None:
        assert parse_tmpfs("/t:size=1m,exec") == Tmpfs(target="/t", options=("size=1m", "exec"))
        assert parse_tmpfs("/t/") == Tmpfs(target="/t")

    @pytest.mark.parametrize(
        "text",
        [":", "a:/b", ":/b", "/a:", "/a:/b:x", "/a:/b:ro:rw", "data:/b", "/a:/b:ro,,"],
    )
    def test_other_volumes_are_refused_with_what_to_write(self, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            parse_volume(text, print)
        assert caught.value.hint

    @pytest.mark.parametrize(
        "text",
        [
            *("", "x", "type=npipe,target=/b", "type=bind,target=/b", "type=bind,source=/a"),
            *("type=volume,source=data,target=/b", "type=tmpfs,target=/b,source=/a", "target"),
            *("type=tmpfs,target=/b,tmpfs-mode=9", "type=bind,source=/a,target=/b,ro=maybe"),
            *("type=bind,source=/a,target=/b,bind-propagation=x", 'type=bind,"source=/a'),
            *("type=tmpfs,target=/b,tmpfs-size=x", "type=bind,source=/a,target=/b,volume-nocopy"),
        ],
    )
    def test_other_mounts_are_refused_with_what_to_write(self, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            parse_mount(text)
        assert caught.value.hint

    @pytest.mark.parametrize("text", ["/t:bad", "/t:size", "/t:exec=1", "/t:size=1m,lowerdir=/x"])
    def test_other_options_of_a_tmpfs_are_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="is not an option of a tmpfs"):
            parse_tmpfs(text)


class TestC1Variables:
    def test_a_name_alone_takes_the_value_of_our_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIVEN", "a=b")
        monkeypatch.delenv("ABSENT", raising=False)
        assert parse_variable("A=", "-e") == {"A": ""}
        assert parse_variable("A= b ", "-e") == {"A": " b "}
        assert parse_variable("GIVEN", "-e") == {"GIVEN": "a=b"}
        assert parse_variable("ABSENT", "-e") == {"ABSENT": None}

    @pytest.mark.parametrize("text", ["", "=x", " A=x", "A B=x"])
    def test_what_is_no_variable_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="is not a variable"):
            parse_variable(text, "-e")

    def test_a_file_is_read_before_single_ones(self, filled: Command, tmp_path: Path) -> None:
        file = tmp_path / "env"
        file.write_bytes(b"\xef\xbb\xbf# comment\r\nA=file\r\n\n  B='kept as it is'\nC\n")
        options = ("--env-file", file, "-e", "A=own")
        config = config_of(filled, *options, variables={"C": "here"})
        assert config["process"]["env"][2:] == ["A=own", "B='kept as it is'", "C=here"]

    def test_a_file_that_is_not_there_or_no_text_is_told(
        self, filled: Command, tmp_path: Path
    ) -> None:
        missing = filled("container", "create", "--env-file", tmp_path / "none", "app:1")
        assert missing.code == 4
        (tmp_path / "bad").write_bytes(b"A=\xff\n")
        bad = filled("container", "create", "--env-file", tmp_path / "bad", "app:1")
        assert (bad.code, "is not UTF-8 text" in bad.err) == (2, True)


class TestC2Numbers:
    @pytest.mark.parametrize(
        ("text", "expected"), [("2", 2_000_000_000), ("1.5", 1_500_000_000), ("0.000000001", 1)]
    )
    def test_cpus(self, text: str, expected: int) -> None:
        assert parse_cpus(text) == expected

    @pytest.mark.parametrize("text", ["", "-1", "1e3", "1.", ".5", "1.0000000001", "x", "1,5"])
    def test_other_cpus_are_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="is not a number"):
            parse_cpus(text)

    def test_ulimits(self) -> None:
        assert parse_ulimit("nofile=1:2") == Ulimit(name="nofile", soft=1, hard=2)
        assert parse_ulimit("CORE=-1") == Ulimit(name="core", soft=-1, hard=-1)
        for text in ("", "nofile", "nofile=", "nofile=1:", "nofile=x", "=1", "nofile=1:2:3"):
            with pytest.raises(UsageError, match="is not a limit"):
                parse_ulimit(text)


class TestC4Names:
    def test_hosts(self) -> None:
        assert parse_host("db:10.0.0.7") == ("db", "10.0.0.7")
        assert parse_host("db=10.0.0.7") == ("db", "10.0.0.7")
        assert parse_host("v6:fd00::7") == ("v6", "fd00::7")
        assert parse_host("v6=[fd00::7]") == ("v6", "fd00::7")
        for text in (
            "",
            "db",
            "db:",
            ":10.0.0.7",
            "db:x",
            "a\nb:10.0.0.7",
            "db:10.0.0.7\n1.1.1.1 x",
        ):
            with pytest.raises(UsageError):
                parse_host(text)


def config_of(
    command: Command, *options: str | Path, words: tuple[str, ...] = (), **run: Any
) -> dict[str, Any]:
    """Make a container with these options; return its config.json."""
    done = command("container", "create", "--copy", "--json", *options, "app:1", *words, **run)
    assert done.code == 0, done.err
    made: Any = done.json
    value: dict[str, Any] = json.loads(Path(made["bundle"], "config.json").read_bytes())
    return value


def test_c1_to_c5_all_options_at_once(filled: Command, tmp_path: Path) -> None:
    options = (
        *("-v", f"{tmp_path}:/x:ro", "-v", "/v", "--tmpfs", "/t:size=1m", "-w", "/w"),
        *("--mount", f"type=bind,source={tmp_path},target=/y", "--read-only", "--shm-size", "1m"),
        *("-e", "A=b", "-u", "0", "--entrypoint", "/bin/own", "-t", "--ulimit", "nofile=5:6"),
        *("--memory", "64m", "--pids-limit", "7", "--best-effort-limits", "--dns", "9.9.9.9"),
        *("--hostname", "h", "--add-host", "a:1.2.3.4", "--sysctl", "net.core.somaxconn=9"),
        *("--cap-drop", "ALL", "--cap-add", "KILL", "--security-opt", "seccomp=unconfined"),
        *("--label", "l=1", "--annotation", "a=2"),
    )
    config = config_of(filled, *options, words=("one", "-two"))
    process = config["process"]
    assert process["args"] == ["/bin/own", "one", "-two"]
    assert process["cwd"] == "/w"
    assert process["capabilities"]["bounding"] == ["CAP_KILL"]
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}]
    assert {mount["destination"] for mount in config["mounts"]} >= {"/x", "/v", "/t", "/y"}
    assert config["linux"]["sysctl"]["net.core.somaxconn"] == "9"
    assert "seccomp" not in config["linux"]
    assert (config["annotations"]["l"], config["annotations"]["a"]) == ("1", "2")


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--privileged",), 2, "--privileged is refused"),
        (("--init",), 2, "--init is refused"),
        (("-p", "80:80"), 2, "only a bridge has ports to publish"),
        (("--network", "bridge"), 2, "bridges need a daemon"),
        (("--security-opt", "apparmor=x"), 2, "--security-opt 'apparmor=x' is not possible"),
        (("--security-opt", "seccomp=/none/p.json"), 4, "/none/p.json"),
        (("--memory", "1m"), 2, "--memory 1048576 is too little"),
        (("--memory", "lots"), 2, "'lots' is not a size"),
        (("-v", "/none/at/all:/x"), 4, "'/none/at/all' does not exist"),
        (("-v", "./here:/x"), 2, "'./here' is not an absolute path of the host"),
        (("-v", "data:/x"), 2, "volumes by name do not exist here"),
        (("-v", ""), 2, "'' is not an absolute path in the container"),
        (("-u", ""), 2, "-u is empty"),
        (("-u", "who"), 4, "'who' of -u is not in the image's /etc/passwd"),
        (("--pids-limit", "9999999"), 2, "--pids-limit 9999999 is too large"),
        (("--annotation", "x"), 2, "write --annotation NAME=VALUE"),
        (("--sysctl", "net.x"), 2, "write --sysctl NAME=VALUE"),
        (("--dns", "x"), 2, "--dns 'x' has no address"),
        (("--dns-search", "a b"), 2, "is not one word"),
        (("--entrypoint", ""), 2, "--entrypoint leaves nothing to run"),
    ],
)
def test_bad_input_is_told_with_what_to_do(
    filled: Command, options: tuple[str, ...], code: int, text: str
) -> None:
    if options == ("-u", "who") and os.geteuid() != 0:
        code, text = 2, "needs the rights of root"
    done = filled("container", "create", *options, "app:1")
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("ocitool: ")
    assert text in done.err
    assert done.err.count("\n") >= 2 or "it does not exist" in done.err
    assert filled("container", "ls", "-q").out == ""
