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
