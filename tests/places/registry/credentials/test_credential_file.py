"""Keeping and forgetting credentials, in real files and with real helpers."""

import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocitool.errors import AccessDenied, OcitoolError
from ocitool.places.registry.credentials.credential import Credential
from ocitool.places.registry.credentials.store import CredentialStore
from tests.places.registry.homes import HOST, HUB_KEY, SECRET, Home, auths, entry

ANN = Credential(username="ann", password=SECRET)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr("ocitool.fsops.descriptors._cached_umask", None)
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def store(home: Home, authfile: str | None = None) -> CredentialStore:
    return CredentialStore(authfile=authfile, environment=home.variables)


def content(home: Home, name: str = ".docker/config.json") -> dict[str, object]:
    found: dict[str, object] = json.loads((home.folder / name).read_text())
    return found


class TestSaving:
    def test_what_was_saved_is_found(self, home: Home) -> None:
        where = store(home).save(HOST, ANN)
        assert where == str(home.folder / ".docker/config.json")
        found = home.find(writing=True)
        assert found is not None
        assert (found.username, found.password, found.origin) == ("ann", SECRET, where)

    def test_docker_would_have_written_the_same(self, home: Home) -> None:
        store(home).save("docker.io", ANN)
        assert content(home) == {"auths": {HUB_KEY: entry("ann", SECRET)}}
        assert (home.folder / ".docker/config.json").read_text().startswith('{\n\t"auths": {\n')

    @pytest.mark.parametrize("domain", ["docker.io", "index.docker.io", "registry-1.docker.io"])
    def test_docker_hub_has_one_key(self, home: Home, domain: str) -> None:
        store(home).save(domain, ANN)
        assert content(home) == {"auths": {HUB_KEY: entry("ann", SECRET)}}

    @pytest.mark.parametrize(
        "credential",
        [
            Credential(identity_token=SECRET),
            Credential(username="0000", identity_token=SECRET),
            Credential(registry_token=SECRET),
            Credential(username="ann", password="p:w"),
            Credential(username="ä", password="√"),
        ],
    )
    def test_every_kind_comes_back_as_it_was(self, home: Home, credential: Credential) -> None:
        store(home).save(HOST, credential)
        found = home.find(writing=True)
        assert found is not None
        assert (found.username, found.password) == (credential.username, credential.password)
        assert found.identity_token == credential.identity_token
        assert found.registry_token == credential.registry_token

    def test_the_one_before_is_replaced(self, home: Home) -> None:
        store(home).save(HOST, Credential(username="old", password="old"))
        store(home).save(HOST, ANN)
        assert content(home) == {"auths": {HOST: entry("ann", SECRET)}}

    def test_all_else_is_kept(self, home: Home) -> None:
        before: dict[str, object] = {
            "HttpHeaders": {"X-Meta": "ü"},
            **auths(**{"other.example": "bob", f"{HOST}/team": "eve"}),
            "psFormat": "table {{.ID}}",
            "plugins": {"x": {"hooks": "a,b"}},
            "unknown": [1, 2.5, None, True, "\ud800"],
        }
        home.docker(before)
        store(home).save(HOST, ANN)
        found = content(home)
        kept = found["auths"]
        assert isinstance(kept, dict)
        assert kept.pop(HOST) == entry("ann", SECRET)
        assert found == before
        assert list(found) == list(before)

    def test_a_link_is_followed_and_stays(self, home: Home) -> None:
        target = home.write("dotfiles/docker.json", {"x": 1})
        link = home.folder / ".docker/config.json"
        link.parent.mkdir()
        link.symlink_to("../dotfiles/docker.json")
        store(home).save(HOST, ANN)
        assert link.is_symlink()
        assert json.loads(Path(target).read_text()) == {
            "x": 1,
            "auths": {HOST: entry("ann", SECRET)},
        }

    def test_an_authfile_is_written_in_its_place(self, home: Home) -> None:
        home.docker({})
        path = str(home.folder / "new/auth.json")
        assert store(home, path).save(HOST, ANN) == path
        assert content(home, "new/auth.json") == {"auths": {HOST: entry("ann", SECRET)}}
        assert content(home) == {}

    def test_registry_auth_file_is_written_in_its_place(self, home: Home) -> None:
        home.variables["REGISTRY_AUTH_FILE"] = str(home.folder / "r.json")
        store(home).save(HOST, ANN)
        assert content(home, "r.json") == {"auths": {HOST: entry("ann", SECRET)}}

    def test_a_broken_file_is_left_alone(self, home: Home) -> None:
        path = home.docker('{"auths": {')
        with pytest.raises(AccessDenied, match="is not JSON"):
            store(home).save(HOST, ANN)
        assert Path(path).read_text() == '{"auths": {'

    def test_many_logins_at_once_are_all_kept(self, home: Home) -> None:
        threads = [
            threading.Thread(target=store(home).save, args=(f"host{n}.example", ANN))
            for n in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kept = content(home)["auths"]
        assert isinstance(kept, dict)
        assert len(kept) == 12


class TestTheFileOnDisk:
    def test_only_its_owner_may_read_it_whatever_the_umask(self, home: Home, umask: int) -> None:
        store(home).save(HOST, ANN)
        path = home.folder / ".docker/config.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_one_that_all_could_read_is_closed(self, home: Home, umask: int) -> None:
        path = home.docker({})
        os.chmod(path, 0o644)
        store(home).save(HOST, ANN)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    def test_nothing_else_is_left_beside_it(self, home: Home) -> None:
        store(home).save(HOST, ANN)
        store(home).erase(HOST)
        assert os.listdir(home.folder / ".docker") == ["config.json"]

    def test_readers_see_the_old_or_the_new_one(self, home: Home) -> None:
        home.docker(auths(**{f"host{n}": "x" * 100 for n in range(200)}))
        done = threading.Event()
        broken: list[str] = []

        def read() -> None:
            while not done.is_set():
                text = (home.folder / ".docker/config.json").read_text()
                if not text.rstrip().endswith("}"):
                    broken.append(text)

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(20):
            store(home).save(HOST, ANN)
        done.set()
        reader.join()
        assert broken == []

    def test_a_folder_that_cannot_be_made_is_an_error_of_the_disk(self, home: Home) -> None:
        home.variables["DOCKER_CONFIG"] = "/proc/nowhere"
        with pytest.raises(OcitoolError) as caught:
            store(home).save(HOST, ANN)
        assert "/proc/nowhere" in str(caught.value)


class TestSavingThroughAHelper:
    def test_the_secret_goes_to_the_helper_and_not_into_the_file(self, home: Home) -> None:
        home.helpers.keeper("pass")
        home.docker({"credsStore": "pass", **auths(**{HOST: "old"})})
        assert store(home).save(HOST, ANN) == "helper docker-credential-pass"
        assert home.helpers.secrets("pass") == {HOST: ["ann", SECRET]}
        assert content(home) == {"credsStore": "pass", "auths": {HOST: {}}}

    def test_docker_hub_has_dockers_key_there_too(self, home: Home) -> None:
        home.helpers.keeper("pass")
        home.docker({"credHelpers": {"docker.io": "pass"}})
        store(home).save("docker.io", ANN)
        assert home.helpers.secrets("pass") == {HUB_KEY: ["ann", SECRET]}

    def test_an_identity_token_is_stored_under_dockers_name_for_it(self, home: Home) -> None:
        home.helpers.keeper("pass")
        home.docker({"credsStore": "pass"})
        store(home).save(HOST, Credential(identity_token=SECRET))
        assert home.helpers.secrets("pass") == {HOST: ["<token>", SECRET]}

    def test_a_missing_helper_names_the_file_and_changes_nothing(self, home: Home) -> None:
        path = home.docker({"credsStore": "desktop"})
        with pytest.raises(AccessDenied, match="docker-credential-desktop") as caught:
            store(home).save(HOST, ANN)
        assert path in caught.value.message
        assert "remove `credsStore`" in str(caught.value.hint)
        assert content(home) == {"credsStore": "desktop"}

    def test_a_failing_helper_leaves_no_secret_in_the_file(self, home: Home) -> None:
        home.helpers.script("sick", "echo locked; exit 1")
        home.docker({"credsStore": "sick"})
        with pytest.raises(AccessDenied, match="locked"):
            store(home).save(HOST, ANN)
        assert content(home) == {"credsStore": "sick"}


class TestErasing:
    @pytest.mark.parametrize(
        "key", [HOST, f"https://{HOST}", f"https://{HOST}/v1/", f"{HOST}/v2/", HOST.upper()]
    )
    def test_every_spelling_is_forgotten(self, home: Home, key: str) -> None:
        home.docker(auths(**{key: "ann", "other.example": "bob"}))
        assert store(home).erase(HOST)
        assert content(home) == auths(**{"other.example": "bob"})

    def test_docker_hub_is_forgotten_under_all_its_names(self, home: Home) -> None:
        home.docker(auths(**{HUB_KEY: "a", "docker.io": "b", "index.docker.io": "c"}))
        assert store(home).erase("docker.io")
        assert content(home) == {"auths": {}}

    def test_a_namespaces_own_login_stays(self, home: Home) -> None:
        home.docker(auths(**{HOST: "ann", f"{HOST}/team": "bob"}))
        store(home).erase(HOST)
        assert content(home) == auths(**{f"{HOST}/team": "bob"})

    def test_where_there_was_none_nothing_is_written(self, home: Home) -> None:
        assert not store(home).erase(HOST)
        assert not (home.folder / ".docker").exists()

    def test_the_helper_forgets_and_the_empty_entry_goes(self, home: Home) -> None:
        home.helpers.keeper("pass", **{HOST: ("ann", SECRET), "other": ("bob", "x")})
        home.docker({"credsStore": "pass", "auths": {HOST: {}}})
        assert store(home).erase(HOST)
        assert home.helpers.secrets("pass") == {"other": ["bob", "x"]}
        assert content(home) == {"credsStore": "pass", "auths": {}}

    def test_what_only_the_helper_knew_counts_as_something(self, home: Home) -> None:
        home.helpers.keeper("pass", **{HOST: ("ann", SECRET)})
        home.docker({"credsStore": "pass"})
        assert store(home).erase(HOST)

    def test_all_of_docker_hubs_names_are_erased_at_the_helper(self, home: Home) -> None:
        home.helpers.keeper("pass", **{HUB_KEY: ("a", "x"), "docker.io": ("b", "y")})
        home.docker({"credsStore": "pass"})
        assert store(home).erase("docker.io")
        assert home.helpers.secrets("pass") == {}


class TestErasingAll:
    def test_the_file_and_its_helpers_forget_everything(self, home: Home) -> None:
        home.helpers.keeper("pass", **{"one.example": ("a", "x"), "two.example": ("b", "y")})
        home.helpers.keeper("own", **{"own.example": ("c", "z"), "kept.example": ("d", "w")})
        home.docker(
            {
                "credsStore": "pass",
                "credHelpers": {"own.example": "own", "plain.example": ""},
                **auths(**{"plain.example": "e", f"{HOST}/team": "f"}),
                "x": 1,
            }
        )
        assert set(store(home).erase_all()) == {
            "one.example",
            "two.example",
            "own.example",
            "plain.example",
            f"{HOST}/team",
        }
        assert home.helpers.secrets("pass") == {}
        assert home.helpers.secrets("own") == {"kept.example": ["d", "w"]}
        found = content(home)
        assert found["auths"] == {}
        assert (found["x"], found["credsStore"]) == (1, "pass")

    def test_without_a_file_there_is_nothing_to_forget(self, home: Home) -> None:
        assert store(home).erase_all() == ()
        assert not (home.folder / ".docker").exists()
