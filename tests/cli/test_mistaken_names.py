"""Names that mean something else than their user thinks: hosts, files, missing stores."""

from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.images import build_image, oci_archive
from tests.support.registry import EmulatedRegistry
from tests.support.stores import written

IMAGE = build_image([{"a": b"1"}, {"b": b"2"}])
OTHER = build_image([{"c": b"3"}])


@pytest.fixture
def one(ocitool: Command, tmp_path: Path) -> Command:
    """Return the command with a store that holds app:1."""
    written(tmp_path / "one.tar", oci_archive({"app:1": IMAGE}))
    assert ocitool("load", "./one.tar").code == 0
    return ocitool


class TestACopyToAHostWithoutDocker:
    @pytest.mark.parametrize("host", ["127.0.0.1:5591", "localhost", "reg.example", "[::1]:5000"])
    def test_it_is_refused_with_both_forms(self, one: Command, host: str) -> None:
        done = one("copy", "app:1", f"{host}/zz3:1")
        assert done.code == 2
        assert "begins with a registry" in done.err
        assert f"docker://{host}/zz3:1 to push it" in done.err
        assert f"store:{host}/zz3:1 to name it in the store" in done.err
        assert "zz3" not in one("images").out

    def test_the_store_takes_it_by_its_prefix_and_once_it_has_it(self, one: Command) -> None:
        done = one("copy", "app:1", "store:reg.example/zz3:1")
        assert done.code == 0, done.err
        assert "copied to the store as reg.example/zz3:1" in done.err
        assert one("copy", "./one.tar", "reg.example/zz3:1").code == 0
        assert one("copy", "app:1", "team/zz3:1").code == 0

    def test_a_host_alone_names_nothing(self, one: Command) -> None:
        done = one("copy", "app:1", "127.0.0.1:5591")
        assert done.code == 2
        assert "for example docker://127.0.0.1:5591/app:1.0" in done.err


class TestAHostWithoutAName:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1:5591", "127.0.0.1", "localhost:5000", "localhost", "reg.example:443"]
    )
    def test_it_is_refused_with_an_example(self, one: Command, host: str) -> None:
        for words in (
            ("push", "app:1", host),
            ("push", "app:1", f"docker://{host}"),
            ("pull", host),
            ("copy", f"docker://{host}", "new:1"),
            ("inspect", f"docker://{host}"),
            ("registry", "tags", host),
        ):
            done = one(*words)
            assert done.code == 2, words
            assert "is the host of a registry, without the name of an image" in done.err
            assert f"for example {host}/app:1.0" in done.err.replace("docker://", "")

    def test_an_address_is_not_a_name_of_the_store_either(self, one: Command) -> None:
        assert one("tag", "app:1", "127.0.0.1:5591").code == 2
        assert one("tag", "app:1", "my.app:1").code == 0

    def test_docker_hub_is_explained_where_it_was_not_typed(self, one: Command) -> None:
        variables = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
        options = ("--retry-max-wait", "0.01s")
        said = "a name without a registry means docker.io: for another one write HOST/NAME:TAG"
        for words in (("push", "app:1", "team/app:1"), ("pull", "--no-mirrors", "team/app:1")):
            done = one(*words, *options, variables=variables)
            assert done.code == 8, done.err
            assert said in done.err
        typed = one("push", "app:1", "docker.io/team/app:1", *options, variables=variables)
        assert typed.code == 8
        assert said not in typed.err

    def test_a_registry_that_was_typed_is_left_alone(self, one: Command) -> None:
        with EmulatedRegistry() as registry:
            assert one("push", "app:1", f"{registry.host}/app:1").code == 0


class TestAnEmptyList:
    def test_a_file_without_its_folder(self, one: Command) -> None:
        done = one("images", "one.tar")
        assert done.code == 0
        assert "no image is called 'one.tar'" in done.err
        assert "for the file of that name write ./one.tar" in done.err
        assert done.out == one("images", "absent:1").out
        assert "no image is called 'absent:1'" in one("images", "absent:1").err

    def test_a_filter(self, one: Command) -> None:
        done = one("images", "app", "--filter", "dangling=true")
        assert "no image is called 'app' and fits --filter dangling=true" in done.err

    def test_a_store_that_does_not_exist(self, one: Command) -> None:
        done = one("--store", "nostore", "images")
        assert done.code == 0
        assert "the store 'nostore' does not exist" in done.err
        assert "--store names another one" in done.err

    def test_scripts_get_nothing_else(self, one: Command) -> None:
        for words in (("images", "absent"), ("--store", "nostore", "images")):
            done = one(*words, "-q")
            assert (done.out, done.err, done.code) == ("", "", 0)
            done = one(*words, "--json")
            assert (done.json, done.err, done.code) == ([], "", 0)
        assert one("images").err == ""


class TestWhatTheHintsSay:
    """Each line is what somebody typed, and what they were told then."""

    @pytest.mark.parametrize(
        ("words", "code", "told", "hint"),
        [
            ("inspect no.tar", 4, "no file 'no.tar', and no image", "look at the path of the file"),
            ("bundle create app:1 --base no.tar -o x.tar", 4, "no file 'no.tar'", "look at"),
            (
                "size app:1 --max-growth 1% --baseline no:1",
                4,
                "there is no image 'no:1'",
                "if it is in a registry: docker://no:1",
            ),
            (
                "bundle create -f one.tar -o x.tar",
                2,
                "one.tar is not UTF-8 text",
                "it is an archive: name it as a source, ./one.tar",
            ),
            (
                "bundle create -f two.txt -o x.tar",
                2,
                "two.txt:2: 'a:1 b:1' is not one name",
                "one name a line",
            ),
            (
                "bundle create no:1 app:1 no:2 -o x.tar",
                4,
                "2 of 3 images are not in the store: 'no:1', 'no:2'",
                "",
            ),
            (
                "save no:1 no:2 -o x.tar",
                4,
                "2 of 2 images are not in the store: 'no:1', 'no:2'",
                "",
            ),
            ("save x.tar -o app:1", 4, "no file 'x.tar'", "ocitool save app:1 -o x.tar"),
            (
                "push reg.example/x:1 app:1",
                4,
                "no image 'reg.example/x:1'",
                "the other way round? ocitool push app:1 reg.example/x:1",
            ),
            (
                "copy reg.example/x:1 app:1",
                4,
                "no image 'reg.example/x:1'",
                "the other way round? ocitool copy app:1 docker://reg.example/x:1",
            ),
            (
                "load one.tar --allowed-signers=F",
                2,
                "`ocitool load` has no option --allowed-signers",
                "`ocitool bundle load` has it",
            ),
            ("bundle sign one.tar --sign-key two.txt", 2, "'two.txt' is not a key", "ssh-keygen"),
            ("inspect docker://", 2, "names no image", "write docker://HOST/NAME:TAG"),
            ("inspect docker://h:1/", 2, "names no image", "write docker://h:1/NAME:TAG"),
            ("inspect ssh://", 2, "a place to write to", "ssh HOST ocitool save NAME |"),
            ("inspect oci:", 2, "names no image or path", "write oci:PATH"),
            ("tag EMPTY x:1", 2, "the name of the image is empty", "variable of the shell unset"),
            ("pin EMPTY", 2, "the name of the image is empty", "variable of the shell unset"),
            ("push app:1 --to EMPTY", 2, "'' names no registry", "write HOST or HOST/PREFIX"),
            ("registry catalog EMPTY", 2, "'' is not the host of a registry", "such as ghcr.io"),
            (
                "bundle load one.tar --to EMPTY",
                2,
                "the name of the place is empty",
                "oci:DIR or HOST/PREFIX",
            ),
            ("bundle sign one.tar --sign-key EMPTY", 2, "path of the key is empty", "makes one"),
            ("pull docker://", 2, "the image name is empty", "write NAME:TAG"),
        ],
    )
    def test_it_is_of_use(self, one: Command, words: str, code: int, told: str, hint: str) -> None:
        written(one.cwd / "two.txt", b"# a comment\na:1 b:1\n")
        if "sign one.tar" in words:
            assert one("bundle", "create", "app:1", "-o", "one.tar").code == 0
        done = one(*(word.replace("EMPTY", "") for word in words.split()))
        assert (done.code, done.out) == (code, "")
        assert told in done.err
        if hint:
            assert hint in done.err.splitlines()[-1]

    def test_a_path_with_a_space_may_stand_in_a_list(self, one: Command) -> None:
        (one.cwd / "one.tar").rename(one.cwd / "my one.tar")
        written(one.cwd / "list", b"./my one.tar\n")
        assert one("bundle", "create", "-f", "list", "-o", "x.tar").code == 0

    def test_a_failure_tells_its_name_once(self, one: Command) -> None:
        with EmulatedRegistry() as registry:
            registry.add_image("x/a", OTHER, "1")
            names = [f"{registry.host}/x/{name}:1" for name in ("a", "b")]
            done = one("push", "app:1", *names, "--on-existing", "error")
        assert done.code == 6
        (line,) = (text for text in done.err.splitlines() if text.startswith("warning: "))
        assert line.count(names[0]) == 1
