"""What is a secret and what only looks like one; how much of it is told."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.inside.facts.leaks.assignments import names_a_secret
from ocitool.inside.facts.leaks.commands import secrets_in_command, secrets_in_pair
from ocitool.inside.facts.leaks.files import secrets_in_file
from ocitool.inside.facts.leaks.finding import Found, is_placeholder
from ocitool.inside.facts.leaks.keystores import holds_private_key
from ocitool.inside.facts.leaks.patterns import known_forms
from ocitool.inside.facts.leaks.places import is_worth_reading
from ocitool.inside.facts.leaks.redactor import Redactor
from ocitool.inside.facts.words import words
from tests.inside.facts import planted

FILES = {
    "app/.env": (f"A=1\nDB_PASSWORD={planted.ENV_PASSWORD}\n", "secret in env file"),
    "root/.ssh/id_rsa": (planted.RSA, "RSA private key"),
    "root/.ssh/id_ed25519": (planted.ED25519, "SSH private key"),
    "app/tls/server.pem": (planted.PKCS8, "private key"),
    "app/.git/config": (
        f'[remote "o"]\n\turl = https://bob:{planted.GIT_PASSWORD}@git.example.org/x.git\n',
        "git credentials",
    ),
    "root/.git-credentials": (f"https://{planted.GITHUB}@github.com\n", "git credentials"),
    "root/.aws/credentials": (
        f"[default]\naws_secret_access_key = {planted.AWS_KEY}\n",
        "AWS credentials",
    ),
    "root/.npmrc": (f"//registry.npmjs.org/:_authToken={planted.NPM}\n", "npm token"),
    "root/.pypirc": (f"[pypi]\nusername = __token__\npassword = {planted.PYPI}\n", "PyPI password"),
    "etc/pip.conf": (
        f"[global]\nindex-url = https://ci:{planted.PIP_PASSWORD}@pypi.example.org/simple\n",
        "pip password",
    ),
    "root/.docker/config.json": (
        f'{{"auths": {{"r.example.org": {{"auth": "{planted.DOCKER_AUTH}"}}}}}}',
        "registry login",
    ),
    "root/.kube/config": (
        f"users:\n- name: a\n  user:\n    client-key-data: {planted.KUBE_KEY}\n",
        "kubeconfig",
    ),
    "app/key.json": (planted.GCP, "GCP service account key"),
    "root/.netrc": (
        f"machine a.example.org\nlogin bob\npassword {planted.NETRC_PASSWORD}\n",
        "netrc password",
    ),
    "root/.pgpass": (f"db:5432:*:bob:{planted.ENV_PASSWORD}\n", "PostgreSQL password"),
    "etc/shadow": ("root:$6$abcdefgh$" + planted.letters("x", 40) + ":1::::::\n", "password hash"),
    "app/config/master.key": (planted.letters("rails", 32), "Rails key"),
    "app/application-prod.properties": (
        f"spring.datasource.url=jdbc:x\nspring.datasource.password={planted.ENV_PASSWORD}\n",
        "secret in settings",
    ),
    "srv/docker-compose.yml": (
        f"services:\n  db:\n    environment:\n      - DB_PASSWORD={planted.ENV_PASSWORD}\n",
        "secret in settings",
    ),
    "srv/appsettings.json": (
        f'{{\n  "ApiKey": "{planted.ENV_PASSWORD}",\n  "TokenLifetime": "3600"\n}}',
        "secret in settings",
    ),
    "run/secrets/db": (planted.ENV_PASSWORD, "mounted secret"),
    "root/.m2/settings.xml": (f"<password>{planted.ENV_PASSWORD}</password>", "Maven password"),
    "srv/deploy.sh": (
        f"curl -H 'Authorization: Bearer {planted.BUILD_TOKEN}1'",
        "authorization header",
    ),
    "srv/a.py": (f'boto(key="{planted.AWS_ID}")', "AWS access key ID"),
    "srv/b.py": (f"SLACK = '{planted.SLACK}'", "Slack token"),
    "srv/c.yml": (f"url: postgres://app:{planted.ENV_PASSWORD}@db/app", "password in a URL"),
}


def worth_reading(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return is_worth_reading(folder, name)


class TestFiles:
    @pytest.mark.parametrize("path", FILES)
    def test_a_secret_is_found_in_its_file(self, path: str) -> None:
        text, kind = FILES[path]
        assert worth_reading(path)
        (found,) = secrets_in_file(path, text.encode())
        assert found.kind == kind

    @pytest.mark.parametrize("path", FILES)
    def test_at_most_four_characters_of_it_are_told(self, path: str) -> None:
        text, _ = FILES[path]
        (found,) = secrets_in_file(path, text.encode())
        assert len(found.begins) <= 4
        assert 3 * len(found.begins) <= len(found.value)
        assert found.value not in repr(found)

    def test_a_password_may_hold_an_at_sign(self) -> None:
        url = "https://bob:pass@w0rd1@git.example.org/x.git"
        (found,) = secrets_in_file("app/.git/config", f"url = {url}\n".encode())
        assert (found.value, found.name) == ("pass@w0rd1", "git.example.org")
        assert [one.value for one in known_forms(f"x = '{url}'")] == ["pass@w0rd1"]

    def test_a_passphrase_has_words_and_a_sentence_has_more(self) -> None:
        text = "DB_PASSWORD='correct horse battery staple'\nA_TOKEN='Ask your admin for it.'\n"
        (found,) = secrets_in_file("app/.env", text.encode())
        assert found.value == "correct horse battery staple"

    def test_each_value_is_told_once(self) -> None:
        text = f"A_TOKEN={planted.GITHUB}\nB_TOKEN={planted.GITHUB}\n# {planted.GITHUB}\n"
        assert len(secrets_in_file("app/.env", text.encode())) == 1

    @pytest.mark.parametrize(
        "text",
        [
            "DB_PASSWORD=changeme\n",
            "DB_PASSWORD=${OTHER}\nTOKEN=<your token>\nSECRET=xxxxxxxx\n",
            "PASSWORD_FILE=/run/secrets/db\nTOKEN_TTL=3600000\nAUTH_TOKEN_URL=https://x/y\n",
            "MYSQL_ALLOW_EMPTY_PASSWORD=yes\nMYSQL_RANDOM_ROOT_PASSWORD=1\n",
            "GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D\nDB_HOST=db\n",
            "SECRET=short\nTOKEN=12345678\nAPI_KEY=your_api_key_here\n",
            "URL=postgres://user:password@localhost/db\n",
            "AWS_KEY=AKIAIOSFODNN7EXAMPLE\n",
            "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
            "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\n",
            "Authorization: Bearer $TOKEN\n",
        ],
    )
    def test_what_stands_for_a_secret_is_none(self, text: str) -> None:
        assert secrets_in_file("app/.env", text.encode()) == []

    @pytest.mark.parametrize(
        "text",
        [
            "-----BEGIN PRIVATE KEY-----\nMIIEvQ...\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg==\n-----END PRIVATE KEY-----\n",
            planted.PKCS8.rpartition("-----END")[0],
            "look for -----BEGIN RSA PRIVATE KEY----- in the file",
            planted.PKCS8.replace("PRIVATE KEY", "CERTIFICATE"),
            planted.PKCS8.replace("PRIVATE KEY", "PUBLIC KEY"),
        ],
    )
    def test_a_key_has_a_beginning_a_body_and_an_end(self, text: str) -> None:
        assert list(known_forms(text)) == []

    def test_a_key_in_one_line_of_json_or_indented_in_yaml_is_one(self) -> None:
        escaped = planted.PKCS8.replace("\n", "\\n")
        indented = "".join(f"    {line}\n" for line in planted.PKCS8.splitlines())
        for text in (
            f'{{"key": "{escaped}"}}',
            f"key: |\n{indented}",
            planted.PKCS8.replace("\n", "\r\n"),
        ):
            assert [one.kind for one in known_forms(text)] == ["private key"]

    def test_an_encrypted_key_is_called_so(self) -> None:
        old = planted.RSA.replace(
            "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F\n\n", 1
        )
        assert [one.kind for one in known_forms(old)] == ["RSA private key (encrypted)"]
        new = planted.PKCS8.replace("PRIVATE", "ENCRYPTED PRIVATE")
        assert [one.kind for one in known_forms(new)] == ["private key (encrypted)"]

    def test_the_key_of_ssl_cert_is_marked(self) -> None:
        path = "etc/ssl/private/ssl-cert-snakeoil.key"
        (found,) = secrets_in_file(path, planted.PKCS8.encode())
        assert found.note == "made by the package ssl-cert, for tests"

    def test_binary_files_have_none(self) -> None:
        assert secrets_in_file("srv/x", b"\x7fELF\0\0" + planted.PKCS8.encode()) == []

    @given(st.text(max_size=300), st.sampled_from(sorted(FILES)))
    def test_any_text_is_read(self, text: str, path: str) -> None:
        for found in secrets_in_file(path, text.encode("utf-8", "replace")):
            assert len(found.begins) <= 4

    def test_a_text_full_of_beginnings_takes_no_time(self) -> None:
        begin = "-----BEGIN " + "PRIVATE KEY-----"
        assert list(known_forms(begin * 40_000)) == []
        assert list(known_forms("://a:b" * 100_000)) == []
        assert secrets_in_file("root/.netrc", b"machine x " * 50_000) == []


class TestKeyStores:
    KEY_BAG = bytes.fromhex("060b2a864886f70d010c0a0102")

    def test_pkcs12_with_a_key_bag(self) -> None:
        assert holds_private_key(b"\x30\x82" + bytes(50) + self.KEY_BAG + bytes(50))
        assert not holds_private_key(b"\x30\x82" + bytes(100))
        (found,) = secrets_in_file("app/client.p12", b"\x30\x82" + self.KEY_BAG)
        assert (found.kind, found.begins) == ("key store with a private key", "")

    def test_a_java_key_store_of_certificates_alone_is_public(self) -> None:
        entry = struct.pack(">IH", 2, 2) + b"ca" + bytes(8) + struct.pack(">H", 5) + b"X.509"
        certificates = (entry + struct.pack(">I", 7) + b"CERTIFI") * 2
        store = b"\xfe\xed\xfe\xed" + struct.pack(">II", 2, 2) + certificates
        assert not holds_private_key(store)
        key = struct.pack(">IH", 1, 3) + b"key" + bytes(30)
        store = b"\xfe\xed\xfe\xed" + struct.pack(">II", 2, 3) + certificates + key
        assert holds_private_key(store)

    @given(st.binary(max_size=100))
    def test_any_bytes_are_read(self, data: bytes) -> None:
        holds_private_key(b"\xfe\xed\xfe\xed\0\0\0\2" + data)


class TestPlaces:
    @pytest.mark.parametrize(
        "path",
        [
            "usr/share/doc/openssl/key.pem",
            "usr/share/man/man1/x.1",
            "usr/lib/python3/site-packages/twisted/test/server.pem",
            "app/tests/fixtures/id_rsa",
            "app/.env.example",
            "app/example.env",
            "app/README.md",
            "usr/local/go/src/crypto/tls/testdata/key.pem",
            "usr/lib/python3/ssl_test.py",
        ],
    )
    def test_documents_examples_and_tests_are_not_looked_at(self, path: str) -> None:
        assert not worth_reading(path)

    @pytest.mark.parametrize(
        "path", ["home/test/.netrc", "app/latest/.env", "srv/contest.py", "etc/ssl/private/a.key"]
    )
    def test_a_name_that_only_holds_such_a_word_is(self, path: str) -> None:
        assert worth_reading(path)

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("usr/lib/python3/dist-packages/a/b.py", False),
            ("usr/lib/python3/dist-packages/a/key.pem", True),
            ("app/node_modules/x/index.js", False),
            ("app/node_modules/x/.npmrc", True),
            ("usr/bin/script", False),
            ("usr/local/bin/entrypoint.sh", True),
            ("usr/src/app/config.js", True),
            ("opt/app/logo.png", False),
        ],
    )
    def test_what_packages_bring_is_read_only_where_its_name_tells(
        self, path: str, expected: bool
    ) -> None:
        assert worth_reading(path) is expected


class TestConfiguration:
    @pytest.mark.parametrize(
        "name",
        words(
            "DB_PASSWORD PGPASSWORD token apiToken API_KEY NPM_TOKEN_PROD aws_secret_access_key "
            "client-secret com.example.password SIGNING_KEY DB_PASS"
        ),
    )
    def test_names_of_secrets(self, name: str) -> None:
        assert names_a_secret(name)

    @pytest.mark.parametrize(
        "name",
        words(
            "GPG_KEY KEY PATH PASSWORD_FILE TOKEN_TTL SECRET_NAME TOKENIZER BYPASS KEYBOARD "
            "MYSQL_ALLOW_EMPTY_PASSWORD ACCESS_KEY_ID PASSENGER_HOME COMPASS API_KEY_HEADER"
        ),
    )
    def test_names_of_other_things(self, name: str) -> None:
        assert not names_a_secret(name)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PIN", "1234"),
            ("USER_PIN", "4711"),
            ("cardPin", "009914"),
            ("PASSWORD", "12345"),
            ("DB_PASS", "1122"),
            ("REDIS_PWD", "4711"),
            ("PASSCODE", "90210"),
            ("APP_SECRET", "123456"),
        ],
    )
    def test_short_numbers_that_their_names_call_secrets(self, name: str, value: str) -> None:
        assert [one.value for one in secrets_in_pair(name, value)] == [value]
        for step in (
            f"ENV {name}={value}",
            f"ARG {name}={value}",
            f"|1 {name}={value} /bin/sh -c x",
        ):
            assert [one.value for one in secrets_in_command(step)] == [value]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("LED_PIN", "1304"),
            ("PIN", "13"),
            ("PIN", "0000"),
            ("PIN", "1.2345"),
            ("PIN_COUNT", "4096"),
            ("TOKEN", "4096"),
            ("API_KEY", "12345"),
            ("COMPASS", "12345"),
            ("PASSWORD_LENGTH", "4096"),
            ("MAX_PASSWORD", "4096"),
            ("PASSWORD", "12"),
        ],
    )
    def test_numbers_that_are_other_things(self, name: str, value: str) -> None:
        assert not secrets_in_pair(name, value)

    @pytest.mark.parametrize(
        "step",
        [
            "ENV API_TOKEN={}",
            "/bin/sh -c #(nop)  ENV A=b API_TOKEN={}",
            "/bin/sh -c #(nop)  ARG API_TOKEN={}",
            "|2 A=b API_TOKEN={} /bin/sh -c make",
            "RUN |1 API_TOKEN={} /bin/sh -c make # buildkit",
            "ENV API_TOKEN {}",
            "RUN export API_TOKEN='{}' && make",
            'RUN API_TOKEN="{}" make',
            "RUN login --password {} x",
            "RUN login --api-token={}",
            "RUN curl -u bob:{} https://example.org/x",
            'RUN echo "root:{}" | chpasswd',
            "RUN curl -H 'Authorization: Bearer {}' https://example.org",
            "RUN git clone https://bob:{}@git.example.org/x",
        ],
    )
    def test_a_secret_in_a_build_step_is_found_and_hidden(self, step: str) -> None:
        text = step.format(planted.BUILD_TOKEN)
        (found,) = secrets_in_command(text)
        assert found.value == planted.BUILD_TOKEN
        redactor = Redactor()
        redactor.add(found)
        assert redactor.hide(text) == step.format(f"{planted.BUILD_TOKEN[:4]}…")

    @pytest.mark.parametrize(
        "step",
        [
            "RUN --mount=type=secret,id=npm npm ci",
            "RUN useradd --password '*' bob && chown -R 1000:1000 /app",
            "RUN curl --user 1000 https://example.org",
            "RUN TOKEN=$(cat /run/secrets/t) make",
            "ENV PATH=/usr/local/bin:/usr/bin LANG=C.UTF-8 PYTHON_SHA256=" + "ab12" * 16,
            "RUN docker run -u 1000:1000 x",
            "RUN pip install --index-url https://pypi.org/simple x",
        ],
    )
    def test_ordinary_steps_have_none(self, step: str) -> None:
        assert secrets_in_command(step) == []

    def test_a_label_or_variable(self) -> None:
        (found,) = secrets_in_pair("org.example.deploy-token", planted.BUILD_TOKEN)
        assert found.name == "org.example.deploy-token"
        (found,) = secrets_in_pair("NOTE", f"use {planted.GITHUB}")
        assert (found.kind, found.name) == ("GitHub token", "NOTE")

    @given(st.text(max_size=60), st.text("abcdefgh", min_size=4, max_size=20))
    def test_no_hidden_text_is_left(self, text: str, value: str) -> None:
        redactor = Redactor()
        redactor.add(Found(kind="x", value=value))
        assert value not in redactor.hide(f"{value} {text} {value}".replace(value[1:], value))


@given(st.text(max_size=40))
def test_a_placeholder_is_told_for_any_text(text: str) -> None:
    assert is_placeholder(f"<{text}>")
