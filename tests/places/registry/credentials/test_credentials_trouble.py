"""Credentials behind helpers, and what is made of helpers and files that fail."""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.errors import AccessDenied
from ocitool.places.registry.credentials.chain import CredentialChain
from tests.places.registry.homes import HOST, HUB_KEY, SECRET, Home, auths


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    """Look at files, in this thread, as a user who is not root."""
    libc = ctypes.CDLL(None)
    libc.setfsuid(65534 if os.geteuid() == 0 else os.geteuid())
    try:
        yield
    finally:
        libc.setfsuid(os.geteuid())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


class TestHelpers:
    def test_the_registrys_own_helper_counts_before_the_general_one(self, home: Home) -> None:
        home.helpers.keeper("own", **{HOST: ("own", "pw")})
        home.helpers.keeper("general", **{HOST: ("general", "pw")})
        home.docker({"credHelpers": {HOST: "own"}, "credsStore": "general"})
        assert home.user() == "own"

    def test_the_general_helper_counts_for_all_others(self, home: Home) -> None:
        home.helpers.keeper("general", **{HOST: ("general", "pw")})
        home.docker(
            {"credHelpers": {"other": "own"}, "credsStore": "general", **auths(**{HOST: "x"})}
        )
        assert home.user() == "general"

    def test_an_empty_name_takes_the_file_itself(self, home: Home) -> None:
        home.helpers.keeper("general", **{HOST: ("general", "pw")})
        home.docker({"credHelpers": {HOST: ""}, "credsStore": "general", **auths(**{HOST: "file"})})
        assert home.user() == "file"
        assert home.helpers.calls("general") == []

    def test_what_a_helper_does_not_know_may_stand_in_the_file(self, home: Home) -> None:
        home.helpers.keeper("general")
        home.docker({"credsStore": "general", **auths(**{HOST: "file"})})
        assert home.user() == "file"

    def test_or_in_the_next_file(self, home: Home) -> None:
        home.helpers.keeper("general")
        home.docker({"credsStore": "general", "auths": {HOST: {}}})
        home.write("run/containers/auth.json", auths(**{HOST: "podman"}))
        assert home.user() == "podman"

    @pytest.mark.parametrize("key", [HUB_KEY, "docker.io", "index.docker.io"])
    def test_docker_hub_is_asked_for_by_all_its_names(self, home: Home, key: str) -> None:
        home.helpers.keeper("general", **{key: ("ann", "pw")})
        home.docker({"credsStore": "general"})
        assert home.user("docker.io", "library/x") == "ann"
        assert home.helpers.calls("general")[0] == (["get"], HUB_KEY)

    @pytest.mark.parametrize("key", [HUB_KEY, "docker.io", "index.docker.io"])
    def test_docker_hubs_own_helper_is_found_by_all_its_names(self, home: Home, key: str) -> None:
        home.helpers.keeper("own", **{HUB_KEY: ("ann", "pw")})
        home.docker({"credHelpers": {key: "own"}})
        assert home.user("docker.io", "library/x") == "ann"

    def test_a_helper_is_asked_for_the_host_alone(self, home: Home) -> None:
        home.helpers.keeper("general", **{HOST: ("ann", "pw")})
        home.docker({"credsStore": "general"})
        home.user(HOST, "name/space/repo")
        assert home.helpers.calls("general") == [(["get"], HOST)]

    def test_the_user_token_means_an_identity_token(self, home: Home) -> None:
        home.helpers.keeper("general", **{HOST: ("<token>", SECRET)})
        home.docker({"credsStore": "general"})
        found = home.find(writing=True)
        assert found is not None
        assert (found.username, found.password, found.identity_token) == (None, None, SECRET)
        assert found.origin == "helper docker-credential-general"

    def test_a_helper_runs_once_for_one_question(self, home: Home) -> None:
        home.helpers.keeper("general", **{HOST: ("ann", "pw")})
        home.docker({"credsStore": "general"})
        chain = home.chain()
        threads = [
            threading.Thread(target=chain.find, args=(HOST, f"a/{n}"), kwargs={"writing": False})
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(home.helpers.calls("general")) == 1

    def test_podmans_file_may_name_a_helper_too(self, home: Home) -> None:
        home.helpers.keeper("own", **{HOST: ("ann", "pw")})
        home.write("run/containers/auth.json", {"credHelpers": {HOST: "own"}})
        assert home.user() == "ann"


class TestMissingHelper:
    def test_reads_continue_anonymously_with_one_warning(self, home: Home) -> None:
        path = home.docker({"credsStore": "desktop", "auths": {HOST: {}}})
        chain = home.chain()
        for name in ("a", "b", "c"):
            assert chain.find(HOST, name, writing=False) is None
        (warning,) = home.warnings
        assert path in warning
        assert "docker-credential-desktop" in warning

    def test_an_empty_path_is_no_other_case(self, home: Home) -> None:
        home.docker({"credsStore": "desktop"})
        home.variables["PATH"] = ""
        assert home.find() is None
        assert len(home.warnings) == 1

    def test_reading_takes_what_another_place_has(self, home: Home) -> None:
        home.docker({"credsStore": "desktop"})
        home.write("run/containers/auth.json", auths(**{HOST: "podman"}))
        found = home.find()
        assert found is not None
        assert found.username == "podman"

    def test_writing_fails_and_names_the_file_and_the_way_out(self, home: Home) -> None:
        path = home.docker({"credsStore": "desktop"})
        with pytest.raises(AccessDenied) as caught:
            home.find(writing=True)
        assert path in caught.value.message
        assert "docker-credential-desktop, which is not on PATH" in caught.value.message
        assert "remove `credsStore`" in str(caught.value.hint)
        assert "credsStore" in str(caught.value.hint)

    def test_the_way_out_names_the_key_that_is_to_blame(self, home: Home) -> None:
        home.docker({"credHelpers": {HOST: "gone"}})
        with pytest.raises(AccessDenied) as caught:
            home.find(writing=True)
        assert "remove `credHelpers`" in str(caught.value.hint)

    def test_a_helper_of_another_registry_does_not_matter(self, home: Home) -> None:
        home.docker({"credHelpers": {"other.example": "gone"}, **auths(**{HOST: "ann"})})
        assert home.user() == "ann"

    def test_flags_make_it_irrelevant(self, home: Home) -> None:
        home.docker({"credsStore": "desktop"})
        chain = home.chain(username="ann", password="pw")
        assert chain.find(HOST, "a", writing=True) is not None


class TestFailingHelper:
    @pytest.mark.parametrize(
        "text",
        [
            "echo 'error getting credentials'; exit 1",
            "echo 'no credentials server URL'; exit 1",
            "echo nonsense",
            "echo '{}'",
            "exec sleep 20",
        ],
    )
    def test_reading_warns_and_writing_fails(self, home: Home, text: str) -> None:
        home.helpers.script("sick", text)
        path = home.docker({"credsStore": "sick"})
        chain = home.chain(helper_seconds=0.5)
        assert chain.find(HOST, "a", writing=False) is None
        assert len(home.warnings) == 1
        with pytest.raises(AccessDenied, match="docker-credential-sick") as caught:
            chain.find(HOST, "a", writing=True)
        assert path in caught.value.message

    def test_a_name_that_is_a_path_runs_nothing(self, home: Home) -> None:
        home.helpers.script("x", f"touch {home.folder}/ran")
        home.docker({"credsStore": "x/../../bin/docker-credential-x"})
        with pytest.raises(AccessDenied, match="names no helper"):
            home.find(writing=True)
        assert not (home.folder / "ran").exists()


class TestBrokenFiles:
    @pytest.mark.parametrize(
        "content",
        [
            f'{{"auths": {{"{HOST}": {{"auth": "{SECRET}"',
            f'{{"auths": "{SECRET}"}}',
            '{"auths": []}',
            '{"credHelpers": 7}',
            '{"credsStore": 7}',
            "[]",
            '"text"',
            f"{SECRET}",
            "[" * 100_000,
        ],
    )
    def test_reading_warns_once_and_writing_fails(self, home: Home, content: str) -> None:
        path = home.docker(content)
        chain = home.chain()
        for _ in range(2):
            assert chain.find(HOST, "a", writing=False) is None
        (warning,) = home.warnings
        assert path in warning
        assert SECRET not in warning
        with pytest.raises(AccessDenied) as caught:
            home.find(writing=True)
        assert path in caught.value.message
        assert SECRET not in caught.value.message

    @pytest.mark.parametrize("content", ["", " \n", "{}", '{"auths": null}', '{"auths": {}}'])
    def test_an_empty_one_is_no_problem(self, home: Home, content: str) -> None:
        home.docker(content)
        assert home.user() is None

    def test_a_broken_variable_is_named(self, home: Home) -> None:
        home.variables["DOCKER_AUTH_CONFIG"] = "{"
        with pytest.raises(AccessDenied, match="DOCKER_AUTH_CONFIG is not JSON"):
            home.find(writing=True)

    def test_a_broken_place_after_the_hit_does_not_matter(self, home: Home) -> None:
        home.docker(auths(**{HOST: "ann"}))
        home.write("run/containers/auth.json", "{")
        assert home.user() == "ann"

    def test_reading_goes_on_to_the_next_place(self, home: Home) -> None:
        home.docker("{")
        home.write("run/containers/auth.json", auths(**{HOST: "podman"}))
        found = home.find()
        assert found is not None
        assert found.username == "podman"

    def test_a_fifo_is_not_waited_for(self, home: Home) -> None:
        (home.folder / ".docker").mkdir()
        os.mkfifo(home.folder / ".docker/config.json")
        assert home.find() is None
        assert "not a regular file" in home.warnings[0]

    def test_a_folder_in_its_place_is_a_problem(self, home: Home) -> None:
        (home.folder / ".docker/config.json").mkdir(parents=True)
        with pytest.raises(AccessDenied, match="not a regular file"):
            home.find(writing=True)

    def test_a_file_without_end_is_not_read(self, home: Home) -> None:
        path = home.docker("")
        with open(path, "r+b") as file:
            file.truncate(1 << 40)
        with pytest.raises(AccessDenied, match="larger than"):
            home.find(writing=True)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_one_that_may_not_be_read_is_a_problem(self, home: Home) -> None:
        os.chmod(home.docker("{}"), 0)
        with pytest.raises(AccessDenied, match="cannot be read: Permission denied"):
            home.find(writing=True)

    def test_a_usual_place_that_may_not_be_entered_is_none(self, home: Home) -> None:
        """Root's podman leaves a folder of its own; what was named is a problem all the same."""
        path = home.write("run/containers/auth.json", auths(**{HOST: "podman"}))
        os.chmod(os.path.dirname(path), 0)
        with _as_nobody():
            assert home.user() is None
            with pytest.raises(AccessDenied, match="cannot be read: Permission denied"):
                home.chain(authfile=path).find(HOST, "a", writing=True)
        os.chmod(os.path.dirname(path), 0o700)

    def test_an_authfile_that_is_not_there_is_a_mistake(self, home: Home) -> None:
        chain = home.chain(authfile=str(home.folder / "none.json"))
        assert chain.find(HOST, "a", writing=False) is None
        assert "does not exist" in home.warnings[0]
        with pytest.raises(AccessDenied, match=r"none\.json does not exist"):
            chain.find(HOST, "a", writing=True)

    def test_a_registry_auth_file_that_is_not_there_yet_is_none(self, home: Home) -> None:
        home.variables["REGISTRY_AUTH_FILE"] = str(home.folder / "none.json")
        assert home.user() is None

    def test_without_a_home_there_is_no_credential(self, home: Home) -> None:
        chain = CredentialChain(environment={"HOME": "/dev/null/x"}, warn=home.warnings.append)
        assert chain.find(HOST, "a", writing=True) is None
