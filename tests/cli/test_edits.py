"""The commands that edit images, as users type them."""

import json
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.images import Built, build_image, build_index, tar_of, write_layout
from tests.support.registry import EmulatedRegistry

AMD = build_image([{"a": b"1"}])
ARM = build_image([{"b": b"2"}], platform="linux/arm64")


@pytest.fixture
def layout(tmp_path: Path) -> str:
    images: dict[str, Built] = {"amd": AMD, "arm": ARM, "idx": build_index([AMD, ARM])}
    return f"oci:{write_layout(tmp_path / 'l', images)}"


def config_of(ocitool: Command, image: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(ocitool("inspect", image, "--config").out)
    return found


class TestM5Set:
    def test_words_of_the_command_line(self, ocitool: Command, layout: str) -> None:
        done = ocitool(
            *("set", f"{layout}:amd", "-t", "app:1", "--label", "a=b=c", "--env", "X="),
            *("--entrypoint", '["/app", "a b"]', "--cmd", "serve 'a b'", "--expose", "80"),
            *("--user", "7", "--workdir", "/w", "--volume", "/v", "--stop-signal", "SIGINT"),
        )
        assert done.code == 0, done.err
        assert done.out.startswith("app:1@sha256:")
        config = config_of(ocitool, "app:1")
        assert config["config"] == {
            "User": "7",
            "ExposedPorts": {"80/tcp": {}},
            "Env": ["X="],
            "Entrypoint": ["/app", "a b"],
            "Cmd": ["serve", "a b"],
            "Volumes": {"/v": {}},
            "WorkingDir": "/w",
            "Labels": {"a": "b=c"},
            "StopSignal": "SIGINT",
        }
        history = config["history"]
        assert isinstance(history, list)
        assert history[-1]["created_by"] == (
            "ocitool set label,env,entrypoint,cmd,user,workdir,expose,volume,stop-signal"
        )

    def test_equal_values_are_nothing_to_change(self, ocitool: Command, layout: str) -> None:
        digest = ocitool("set", f"{layout}:amd", "--user", "7", "-t", "app:1", "-q").out
        variables = {"SOURCE_DATE_EPOCH": "1700000000"}
        done = ocitool("set", "app:1", "--user", "7", "--in-place", variables=variables)
        assert (done.code, done.out) == (0, digest)
        assert "nothing to change" in done.err

    @pytest.mark.parametrize(
        ("options", "variables", "created"),
        [
            ((), {}, "2024-05-06T07:08:09Z"),
            ((), {"SOURCE_DATE_EPOCH": "0"}, "1970-01-01T00:00:00Z"),
            (("--created", "keep"), {"SOURCE_DATE_EPOCH": "0"}, "2024-05-06T07:08:09Z"),
            (("--created", "2030-01-01"), {"SOURCE_DATE_EPOCH": "0"}, "2030-01-01T00:00:00Z"),
            (("--created", "86400"), {}, "1970-01-02T00:00:00Z"),
        ],
    )
    def test_m1_the_time_is_never_that_of_the_clock(
        self,
        ocitool: Command,
        layout: str,
        options: tuple[str, ...],
        variables: dict[str, str],
        created: str,
    ) -> None:
        words = ("set", f"{layout}:amd", "--user", "7", "-t", "app:1", *options)
        assert ocitool(*words, variables=variables).code == 0
        assert config_of(ocitool, "app:1")["created"] == created

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ((), "nothing to set"),
            (("--label", "x"), "KEY=VALUE"),
            (("--env", "A=1", "--env", "A=2"), "twice"),
            (("--entrypoint", "[1]"), "list of strings"),
            (("--entrypoint", "['a']"), "JSON"),
            (("--cmd", "a 'b"), "no end"),
            (("--expose", "http"), "not a port"),
            (("--user", "7", "--created", "soon"), "not a time"),
            (("--user", "7", "--referrers", "all"), "--referrers"),
        ],
    )
    def test_wrong_usage(
        self, ocitool: Command, layout: str, options: tuple[str, ...], says: str
    ) -> None:
        done = ocitool("set", f"{layout}:amd", "-t", "app:1", *options)
        assert (done.code, done.out) == (2, "")
        assert says in done.err

    @pytest.mark.parametrize("epoch", ["-1", "soon", "9" * 30, "1.5"])
    def test_a_wrong_epoch(self, ocitool: Command, layout: str, epoch: str) -> None:
        variables = {"SOURCE_DATE_EPOCH": epoch}
        done = ocitool("set", f"{layout}:amd", "--user", "7", "--dry-run", variables=variables)
        assert (done.code, "SOURCE_DATE_EPOCH" in done.err) == (2, True)

    def test_a_dry_run_shows_digests_and_writes_nothing(
        self, ocitool: Command, layout: str, tmp_path: Path
    ) -> None:
        done = ocitool("set", f"{layout}:idx", "--user", "7", "--dry-run")
        assert done.code == 0
        assert "linux/arm64" in done.out
        real = ocitool("set", f"{layout}:idx", "--user", "7", "-t", "x:1", "--digestfile", "d")
        assert (tmp_path / "d").read_text() == done.out.splitlines()[-1] + "\n"
        assert real.code == 0


class TestM9DigestFiles:
    def test_names_of_files_lines_of_files_and_metadata_of_buildx(
        self, ocitool: Command, tmp_path: Path
    ) -> None:
        with EmulatedRegistry() as registry:
            for image in (AMD, ARM):
                registry.add_image("team/app", image)
                registry.add_image("other", image)
            (tmp_path / "names").mkdir()
            (tmp_path / "lines").mkdir()
            amd, arm = str(AMD.descriptor.digest), str(ARM.descriptor.digest)
            (tmp_path / "names" / amd[7:]).touch()
            (tmp_path / "names" / arm).touch()
            (tmp_path / "lines" / "a").write_text(f"{amd}\n")
            (tmp_path / "lines" / "b").write_text(f"{registry.host}/other@{arm}\n")
            buildx = {"buildx.build.ref": "x", "containerimage.digest": arm}
            (tmp_path / "meta.json").write_text(json.dumps(buildx))
            target = f"docker://{registry.host}/team/app"
            ways = (
                ("--digests", "names"),
                ("--from-digestfiles", "lines"),
                ("--from-digestfiles", "lines/a", "lines/b"),
                ("--digestfile", "meta.json", "--from-digestfiles", "lines/a"),
            )
            printed = {
                ocitool("index", "create", f"{target}:{n}", *way, "-q").out
                for n, way in enumerate(ways)
            }
            assert len(printed) == 1
            assert printed == {f"{registry.tags['team/app']['0']}\n"}

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("--digests", "none"), 4),
            (("--digests", "odd"), 2),
            (("--digestfile", "none"), 4),
            (("--digestfile", "odd/README"), 2),
            ((), 2),
        ],
    )
    def test_what_is_no_digest(
        self, ocitool: Command, tmp_path: Path, words: tuple[str, ...], code: int
    ) -> None:
        (tmp_path / "odd").mkdir()
        (tmp_path / "odd" / "README").write_text("hello")
        assert ocitool("index", "create", "docker://localhost:1/a:1", *words).code == code


def test_m9_an_index_grows_and_shrinks_in_the_store(ocitool: Command, layout: str) -> None:
    assert ocitool("index", "create", "app:1", f"{layout}:amd").code == 0
    assert ocitool("index", "add", "app:1", f"{layout}:arm").code == 0
    assert ocitool("index", "remove", "app:1", "linux/amd64").code == 0
    assert ocitool("unwrap", "app:1", "-t", "one:1", "-q").out == f"{ARM.descriptor.digest}\n"


def test_m11_the_source_may_stand_before_what_becomes_of_its_attestations(
    ocitool: Command, tmp_path: Path
) -> None:
    index = build_index([AMD], attested=True)
    place = f"oci:{write_layout(tmp_path / 'a', {'1': index})}:1"
    words = ("attestations", place, "drop", "--unwrap", "-t", "app:1", "-q")
    assert ocitool(*words).out == f"{AMD.descriptor.digest}\n"
    assert ocitool("attestations", "keep", place, "--json").code == 0


class TestM6Append:
    def test_a_pipe_and_a_folder(self, ocitool: Command, layout: str, tmp_path: Path) -> None:
        (tmp_path / "site" / "srv").mkdir(parents=True)
        (tmp_path / "site" / "srv" / "x").write_text("x")
        words = ("append", f"{layout}:amd", "-", "site", "-t", "app:1", "--owner", "7")
        done = ocitool(*words, stdin=tar_of({"piped": b"1"}))
        assert done.code == 0, done.err
        listed = ocitool("files", "ls", "-l", "app:1:/srv").out
        assert "7" in listed
        assert ocitool("files", "cat", "app:1", "/piped").out == "1"

    def test_the_same_folder_gives_the_same_digest(
        self, ocitool: Command, layout: str, tmp_path: Path
    ) -> None:
        for name in ("one", "two"):
            (tmp_path / name / "site").mkdir(parents=True)
            (tmp_path / name / "site" / "x").write_text("x")
        variables = {"SOURCE_DATE_EPOCH": "1000000000"}
        printed = {
            ocitool(
                *("append", f"{layout}:idx", f"{name}/site", "-t", "app:1", "-q"),
                variables=variables,
            ).out
            for name in ("one", "two")
        }
        assert len(printed) == 1

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("none",), 4),
            (("l", "--compression", "xz"), 2),
            (("l", "--owner", "me"), 2),
            (("bad.tar",), 7),
            (("evil.tar",), 7),
        ],
    )
    def test_exit_codes(
        self, ocitool: Command, layout: str, tmp_path: Path, words: tuple[str, ...], code: int
    ) -> None:
        (tmp_path / "bad.tar").write_text("hello" * 300)
        (tmp_path / "evil.tar").write_bytes(tar_of({"../x": b""}))
        assert ocitool("append", f"{layout}:amd", *words, "-t", "app:1").code == code
