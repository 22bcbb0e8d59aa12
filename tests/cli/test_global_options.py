"""Global options stand before the command or anywhere behind it; what they show has no secrets."""

from pathlib import Path
from typing import Literal

import pytest

from tests.places.registry.homes import SECRET, Home, entry
from tests.support.command import FIXTURES, Command
from tests.support.images import build_image, write_layout
from tests.support.registry import EmulatedRegistry, Quirks, TokenQuirks
from tests.support.registry_quirks import Access


class TestAnywhere:
    def test_the_store_behind_the_command(self, loaded: Command, tmp_path: Path) -> None:
        assert "fmt/app" in loaded("images").out
        assert "fmt/app" not in loaded("images", "--store", tmp_path / "none").out
        assert "fmt/app" not in loaded("images", f"--store={tmp_path / 'none'}").out

    def test_the_last_one_counts(self, loaded: Command, tmp_path: Path) -> None:
        here = loaded.store
        done = loaded("--store", tmp_path / "none", "images", "--store", here)
        assert "fmt/app" in done.out

    def test_before_the_command_it_overrules_the_variable(
        self, loaded: Command, tmp_path: Path
    ) -> None:
        assert "fmt/app" not in loaded("--store", tmp_path / "none", "images").out

    def test_between_and_behind_the_words_of_a_group(self, loaded: Command, tmp_path: Path) -> None:
        for words in (
            ("container", "--store", "none", "ls"),
            ("container", "ls", "--store", "none"),
        ):
            assert loaded(*words).code == 4

    def test_quiet_for_a_command_without_an_option_of_that_name(self, ocitool: Command) -> None:
        archive = FIXTURES / "docker20-app-single.tar"
        assert ocitool("load", archive, "-q").err == ""
        assert ocitool("verify", "-q").code == 0

    def test_progress_and_the_folder_for_temporary_files(self, ocitool: Command) -> None:
        archive = FIXTURES / "docker20-app-single.tar"
        done = ocitool("load", archive, "--progress", "none", "--tmp-dir", ".")
        assert done.code == 0, done.err
        assert "stored:" not in done.err

    def test_behind_the_image_of_a_container_it_is_the_commands_own(self, loaded: Command) -> None:
        done = loaded("container", "create", "fmt/app:1.0", "sh", "--store", "x")
        assert done.code == 0, done.err

    def test_a_value_that_looks_like_an_option_stays_a_value(self, loaded: Command) -> None:
        done = loaded("pin", "fmt/app:1.0", "--reason", "--store")
        assert done.code == 0, done.err
        assert "--store" in loaded("pin").out

    def test_a_wrong_value_behind_the_command_is_refused_too(self, ocitool: Command) -> None:
        done = ocitool("images", "--progress", "fancy")
        assert done.code == 2
        assert "--progress 'fancy'" in done.err
        assert ocitool("images", "--store", "").code == 2

    def test_debug_behind_the_command_shows_the_traceback(self, ocitool: Command) -> None:
        done = ocitool("inspect", "none:1", "--debug")
        assert done.code == 4
        assert "Traceback" in done.err
        assert "Traceback" not in ocitool("inspect", "none:1").err


class TestVerbose:
    @pytest.mark.parametrize("scheme", ["basic", "bearer"])
    def test_requests_are_shown_without_secrets(
        self, ocitool: Command, tmp_path: Path, scheme: Literal["basic", "bearer"]
    ) -> None:
        home = Home(tmp_path / "home")
        access = Access(scheme=scheme, users={"ann": SECRET})
        tokens = TokenQuirks(users={"ann": SECRET})
        image = f"oci:{write_layout(tmp_path / 'layout', {'1': build_image([{'a': b'1'}])})}:1"
        with EmulatedRegistry(Quirks(access=access), tokens=tokens) as registry:
            home.docker({"auths": {registry.host: entry("ann", SECRET)}})
            done = ocitool("push", image, f"{registry.host}/x:1", "-v", variables=home.variables)
            assert done.code == 0, done.err
            kind = "password" if scheme == "basic" else "token"
            assert f"PUT http://{registry.host}/v2/x/manifests/1 with a {kind}: 201" in done.err
            assert f"credential for {registry.host}: " in done.err
            assert SECRET not in done.err
            assert not [token for token in registry.office._grants if token in done.err]

    def test_without_it_no_request_is_shown(self, ocitool: Command, tmp_path: Path) -> None:
        image = f"oci:{write_layout(tmp_path / 'layout', {'1': build_image([{'a': b'1'}])})}:1"
        with EmulatedRegistry() as registry:
            assert "PUT" not in ocitool("push", image, f"{registry.host}/x:1").err
