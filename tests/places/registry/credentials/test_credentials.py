"""The chain of places where credentials are looked up: keys, entries, order."""

import base64
import json
import os
from pathlib import Path

import pytest

from ocitool.errors import AccessDenied, UsageError
from ocitool.places.registry.credentials.chain import Credential, CredentialChain
from ocitool.places.registry.credentials.credential import how_to_mend
from ocitool.places.registry.credentials.locations import sources
from tests.places.registry.homes import HOST, HUB_KEY, SECRET, Home, auths, entry


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "domain", "path"),
        [
            (HOST, HOST, "a/b"),
            (f"https://{HOST}", HOST, "a/b"),
            (f"https://{HOST}/", HOST, "a/b"),
            (f"https://{HOST}/v1/", HOST, "a/b"),
            (f"https://{HOST}/v2/", HOST, "a/b"),
            (f"http://{HOST}/v2", HOST, "a/b"),
            (f"{HOST}/v1/", HOST, "a/b"),
            (f"{HOST}/v2", HOST, "a/b"),
            (f"{HOST}/", HOST, "a/b"),
            (HOST.upper(), HOST, "a/b"),
            (HOST, HOST.upper(), "a/b"),
            ("ghcr.io", "ghcr.io", "a"),
            ("[::1]:5000", "[::1]:5000", "a"),
            (f"{HOST}/a", HOST, "a/b"),
            (f"{HOST}/a/b", HOST, "a/b"),
            (f"{HOST}/a/b/", HOST, "a/b"),
            (HUB_KEY, "docker.io", "library/ubuntu"),
            ("https://index.docker.io/v1", "docker.io", "library/ubuntu"),
            ("index.docker.io/v1/", "docker.io", "library/ubuntu"),
            ("index.docker.io", "docker.io", "library/ubuntu"),
            ("docker.io", "docker.io", "library/ubuntu"),
            ("https://docker.io", "docker.io", "library/ubuntu"),
            ("registry-1.docker.io", "docker.io", "library/ubuntu"),
            ("https://registry-1.docker.io/v2/", "docker.io", "library/ubuntu"),
            ("docker.io/library", "docker.io", "library/ubuntu"),
            ("docker.io/library/ubuntu", "docker.io", "library/ubuntu"),
            ("docker.io", "index.docker.io", "library/ubuntu"),
        ],
    )
    def test_a_key_is_for_the_repository(
        self, home: Home, key: str, domain: str, path: str
    ) -> None:
        home.docker(auths(**{key: "ann"}))
        assert home.user(domain, path) == "ann"

    @pytest.mark.parametrize(
        ("key", "domain", "path"),
        [
            ("host.example", HOST, "a/b"),
            (HOST, "host.example", "a/b"),
            ("host.example:5001", HOST, "a/b"),
            (f"sub.{HOST}", HOST, "a/b"),
            (f"{HOST}/a/b/c", HOST, "a/b"),
            (f"{HOST}/a/bb", HOST, "a/b"),
            (f"{HOST}/b", HOST, "a/b"),
            (f"{HOST}/A", HOST, "a/b"),
            ("docker.io.example", "docker.io", "library/ubuntu"),
            (HUB_KEY, "hub.docker.io", "a/b"),
            ("docker.io/me", "docker.io", "library/ubuntu"),
            ("", HOST, "a/b"),
            ("https://", HOST, "a/b"),
        ],
    )
    def test_a_key_is_for_another(self, home: Home, key: str, domain: str, path: str) -> None:
        home.docker(auths(**{key: "ann"}))
        assert home.user(domain, path) is None

    @pytest.mark.parametrize(
        ("path", "user"),
        [("a/b", "closest"), ("a/c", "close"), ("a", "close"), ("b", "host"), ("ab/b", "host")],
    )
    def test_the_longest_namespace_counts(self, home: Home, path: str, user: str) -> None:
        users = {HOST: "host", f"{HOST}/a": "close", f"{HOST}/a/b": "closest"}
        home.docker(auths(**users))
        assert home.user(HOST, path) == user

    def test_two_repositories_of_one_registry_may_have_two_users(self, home: Home) -> None:
        home.docker(auths(**{f"{HOST}/one": "ann", f"{HOST}/two": "bob"}))
        chain = home.chain()
        found = [chain.find(HOST, f"{name}/x", writing=False) for name in ("one", "two", "three")]
        assert [one and one.username for one in found] == ["ann", "bob", None]

    def test_among_equals_dockers_own_key_counts(self, home: Home) -> None:
        home.docker(auths(**{"https://docker.io": "url", "docker.io": "plain", HUB_KEY: "docker"}))
        assert home.user("docker.io", "library/x") == "docker"

    def test_a_plain_key_counts_before_a_url(self, home: Home) -> None:
        home.docker(auths(**{f"https://{HOST}/v1/": "url", HOST: "plain"}))
        assert home.user() == "plain"


class TestEntries:
    def found(self, home: Home, value: object) -> Credential | None:
        home.docker({"auths": {HOST: value}})
        return home.find(writing=True)

    @pytest.mark.parametrize(
        ("auth", "user", "password"),
        [
            ("YW5uOnB3", "ann", "pw"),
            ("YW5uOnB3cw", "ann", "pws"),
            ("YW5uOnB3cw==", "ann", "pws"),
            ("YW5uOnA6dzp4", "ann", "p:w:x"),
            (base64.b64encode(b"ann:pw\0\0\0").decode(), "ann", "pw"),
            (base64.b64encode("ann:pä√".encode()).decode(), "ann", "pä√"),
            (base64.b64encode(b"ann:~~~???").decode(), "ann", "~~~???"),
            (base64.urlsafe_b64encode(b"ann:~~~???").decode(), "ann", "~~~???"),
            ("YW5u\nOnB3\n", "ann", "pw"),
            (base64.b64encode(b"ann:").decode(), "ann", ""),
        ],
    )
    def test_auth_is_decoded_leniently(
        self, home: Home, auth: str, user: str, password: str
    ) -> None:
        found = self.found(home, {"auth": auth})
        assert found is not None
        assert (found.username, found.password) == (user, password)

    def test_bytes_that_are_not_utf_8_are_sent_as_they_are(self, home: Home) -> None:
        found = self.found(home, {"auth": base64.b64encode(b"ann:p\xe4").decode()})
        assert found is not None
        assert found.password is not None
        assert found.password.encode("utf-8", "surrogateescape") == b"p\xe4"

    def test_name_and_password_may_stand_apart(self, home: Home) -> None:
        found = self.found(home, {"username": "ann", "password": SECRET})
        assert found is not None
        assert (found.username, found.password) == ("ann", SECRET)

    def test_an_identity_token_is_one(self, home: Home) -> None:
        auth = base64.b64encode(b"0000:").decode()
        found = self.found(home, {"auth": auth, "identitytoken": SECRET})
        assert found is not None
        assert (found.username, found.password, found.identity_token) == ("0000", None, SECRET)

    def test_a_registry_token_is_one(self, home: Home) -> None:
        found = self.found(home, {"registrytoken": SECRET})
        assert found is not None
        assert found.registry_token == SECRET

    def test_the_user_token_means_an_identity_token(self, home: Home) -> None:
        found = self.found(home, entry("<token>", SECRET))
        assert found is not None
        assert (found.username, found.password, found.identity_token) == (None, None, SECRET)

    @pytest.mark.parametrize("value", [{}, {"auth": ""}, {"email": "a@b"}, {"username": "ann"}])
    def test_an_entry_without_a_secret_is_none(self, home: Home, value: object) -> None:
        assert self.found(home, value) is None

    def test_an_empty_entry_does_not_hide_another_key(self, home: Home) -> None:
        home.docker({"auths": {HOST: {}, f"https://{HOST}/v1/": entry("ann")}})
        assert home.user() == "ann"

    @pytest.mark.parametrize("auth", ["%%%", "YW5u", "YW5uO", base64.b64encode(SECRET.encode())])
    def test_a_damaged_entry_is_a_problem_that_tells_nothing_of_it(
        self, home: Home, auth: str | bytes
    ) -> None:
        text = auth.decode() if isinstance(auth, bytes) else auth
        path = home.docker({"auths": {HOST: {"auth": text}}})
        with pytest.raises(AccessDenied) as caught:
            home.find(writing=True)
        assert path in caught.value.message
        assert text not in caught.value.message
        assert SECRET not in caught.value.message
        assert home.find(writing=False) is None
        assert len(home.warnings) == 1

    def test_no_secret_is_in_the_text_of_a_credential(self, home: Home) -> None:
        for value in (entry("ann", SECRET), {"identitytoken": SECRET}, {"registrytoken": SECRET}):
            found = self.found(home, value)
            assert found is not None
            assert SECRET not in repr(found)
            assert SECRET not in str(found)


class TestOrder:
    def test_the_places_count_in_their_order(self, home: Home) -> None:
        """Each place is taken away in turn, and the next one counts."""
        authfile = home.write("given.json", auths(**{HOST: "authfile"}))
        home.variables["REGISTRY_AUTH_FILE"] = home.write("r.json", auths(**{HOST: "registry"}))
        home.variables["DOCKER_AUTH_CONFIG"] = json.dumps(auths(**{HOST: "inline"}))
        places = [
            home.docker(auths(**{HOST: "docker"})),
            home.write("run/containers/auth.json", auths(**{HOST: "podman"})),
            home.write(".config/containers/auth.json", auths(**{HOST: "podman at home"})),
            home.write(".dockercfg", {HOST: entry("legacy")}),
        ]

        def user(chain: CredentialChain) -> str | None:
            found = chain.find(HOST, "a/b", writing=True)
            return None if found is None else found.username

        found = [
            user(home.chain(username="flags", password="pw", authfile=authfile)),
            user(home.chain(authfile=authfile)),
            user(home.chain()),
        ]
        del home.variables["REGISTRY_AUTH_FILE"]
        found.append(user(home.chain()))
        del home.variables["DOCKER_AUTH_CONFIG"]
        for path in places:
            found.append(user(home.chain()))
            os.unlink(path)
        assert found == [
            "flags",
            "authfile",
            "registry",
            "inline",
            "docker",
            "podman",
            "podman at home",
            "legacy",
        ]
        assert user(home.chain()) is None
        assert home.warnings == []

    def test_a_place_that_knows_only_others_is_passed_over(self, home: Home) -> None:
        authfile = home.write("given.json", auths(**{"other.example": "x"}))
        home.variables["DOCKER_AUTH_CONFIG"] = json.dumps(auths(**{"other.example": "y"}))
        home.docker({})
        home.write("run/containers/auth.json", auths(**{HOST: "podman"}))
        found = home.chain(authfile=authfile).find(HOST, "a", writing=True)
        assert found is not None
        assert found.username == "podman"

    def test_docker_config_names_another_folder(self, home: Home) -> None:
        home.docker(auths(**{HOST: "usual"}))
        path = home.write("elsewhere/config.json", auths(**{HOST: "other"}))
        home.variables["DOCKER_CONFIG"] = os.path.dirname(path)
        assert home.user() == "other"

    def test_xdg_config_home_names_another_folder(self, home: Home) -> None:
        home.write("xdg/containers/auth.json", auths(**{HOST: "other"}))
        home.variables["XDG_CONFIG_HOME"] = str(home.folder / "xdg")
        assert home.user() == "other"

    def test_podmans_file_has_two_places(self) -> None:
        """Without XDG_RUNTIME_DIR, as for root and in CI, there is no `containers` in its path."""

        def paths(**variables: str) -> list[str]:
            return [source.path for source in sources({"HOME": "/h", **variables})]

        home = ["/h/.config/containers/auth.json", "/h/.dockercfg"]
        number = f"/run/containers/{os.getuid()}/auth.json"
        assert paths() == ["/h/.docker/config.json", number, *home]
        assert paths(XDG_RUNTIME_DIR="run") == paths()
        assert paths(XDG_RUNTIME_DIR="/r")[1] == "/r/containers/auth.json"
        assert paths(XDG_CONFIG_HOME="conf") == paths()

    def test_a_dockercfg_of_the_newer_form_is_read_too(self, home: Home) -> None:
        home.write(".dockercfg", auths(**{HOST: "ann"}))
        assert home.user() == "ann"

    def test_a_link_is_followed(self, home: Home) -> None:
        target = home.write("real.json", auths(**{HOST: "ann"}))
        (home.folder / ".docker").mkdir()
        (home.folder / ".docker/config.json").symlink_to(target)
        assert home.user() == "ann"

    def test_the_origin_is_the_file_or_variable(self, home: Home) -> None:
        path = home.docker(auths(**{HOST: "ann"}))
        found = home.find()
        assert found is not None
        assert found.origin == path
        home.variables["DOCKER_AUTH_CONFIG"] = json.dumps(auths(**{HOST: "bob"}))
        found = home.find()
        assert found is not None
        assert found.origin == "DOCKER_AUTH_CONFIG"

    def test_a_file_is_read_once(self, home: Home) -> None:
        path = home.docker(auths(**{HOST: "ann"}))
        chain = home.chain()
        chain.find(HOST, "a", writing=False)
        os.unlink(path)
        assert chain.find(HOST, "b", writing=False) is not None

    def test_the_flags_may_be_an_identity_token(self, home: Home) -> None:
        chain = home.chain(username="<token>", password=SECRET)
        found = chain.find(HOST, "a", writing=True)
        assert found is not None
        assert found.identity_token == SECRET
        assert found.origin == "the command line"

    @pytest.mark.parametrize("flags", [("ann", None), (None, "pw")])
    def test_half_of_a_pair_is_a_mistake(
        self, home: Home, flags: tuple[str | None, str | None]
    ) -> None:
        with pytest.raises(UsageError):
            home.chain(username=flags[0], password=flags[1])


class TestNamespaces:
    def test_a_part_of_a_registry_has_a_credential_of_its_own(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        home.docker(auths(**{HOST: "ann", f"{HOST}/team": "bob", f"{HOST}/team/sub": "eve"}))
        assert [home.user(HOST, path) for path in ("a", "team/a", "team/sub/a", "teams/a")] == [
            "ann",
            "bob",
            "eve",
            "ann",
        ]

    def test_it_counts_more_than_what_a_helper_has_for_the_host(self, tmp_path: Path) -> None:
        home = Home(tmp_path)
        home.helpers.keeper("keep", **{HOST: ("ann", "pw")})
        home.docker({"credsStore": "keep", **auths(**{f"{HOST}/team": "bob"})})
        assert [home.user(HOST, path) for path in ("a", "team/a")] == ["ann", "bob"]


def test_what_to_do_about_a_credential_that_no_command_wrote() -> None:
    hint = how_to_mend("ghcr.io", "the variable CI_REGISTRY_PASSWORD")
    assert hint.startswith("correct it there; or remove it from there, and ")
    assert "`ocitool login ghcr.io`" in hint
