"""Secrets of build steps are cut whole, however a shell has them quoted."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.inside.facts.gathering import gather_facts
from ocitool.inside.facts.leaks.commands import (
    secrets_in_command,
    secrets_in_pair,
    secrets_in_words,
)
from ocitool.inside.facts.leaks.finding import Found
from ocitool.inside.facts.leaks.redactor import Redactor
from ocitool.inside.facts.leaks.shell import commands
from ocitool.inside.image import look_inside
from ocitool.places.layout import Layout
from tests.inside.facts import planted
from tests.support.root_files import folder
from tests.support.small_images import file, gone, small_image, write_image

QUOTED = (
    ('RUN mysql --password "two words LEAK"', "two words LEAK"),
    ("RUN PGPASSWORD='my LEAK pass' psql", "my LEAK pass"),
    ('RUN export DB_PASSWORD="abcdefgh\\"LEAK" && x', 'abcdefgh"LEAK'),
    ("RUN export API_TOKEN=abcdefgh\\\nLEAK", "abcdefghLEAK"),
    ("RUN DB_PASSWORD=abcdefg\\ LEAK run", "abcdefg LEAK"),
    ("RUN DB_PASSWORD='abcdefg'\"'\"'LEAK' run", "abcdefg'LEAK"),
    ('RUN curl -u "bob:abcdefgh LEAK" h', "abcdefgh LEAK"),
    ("RUN curl -u 'bob:abc LEAK'", "abc LEAK"),
    ("RUN curl --user bob:abcdefg@LEAK h", "abcdefg@LEAK"),
    ("RUN curl https://u:pa@LEAK@host/x", "pa@LEAK"),
    ("RUN curl https://u:abcdefg/LEAK@h/", "abcdefg/LEAK"),
    ("ENV DB_PASSWORD=abcdefgh$LEAK", "abcdefgh$LEAK"),
    ("ENV API_KEY=abcd LEAK", "abcd LEAK"),
    ("ENV API_KEY abcd LEAK", "abcd LEAK"),
    ("ARG TOKEN=aaaaLEAK\nbbbLEAK", "aaaaLEAK\nbbbLEAK"),
    ("|2 PASSWORD=abcd LEAK FOO=x /bin/sh -c make", "abcd LEAK"),
    ("RUN mysql --password=abcdefg;LEAK", "abcdefg"),
    ("RUN bash -c \"export DB_PASSWORD='abcd LEAK' && make\"", "abcd LEAK"),
)
MORE = (
    ("RUN PASSWORD=1234 x", "1234"),
    ("RUN mysql -p'q1w2ZZZ' db", "q1w2ZZZ"),
    ("RUN sshpass -p ZZsecret5x ssh h", "ZZsecret5x"),
    ("RUN useradd -p aaaaZZ1 bob", "aaaaZZ1"),
    ("RUN htpasswd -b f bob aaaaZZ2", "aaaaZZ2"),
    ("RUN htpasswd -nbB bob aaaaZZ2", "aaaaZZ2"),
    ("RUN echo ZZsecret6x | docker login -u bob --password-stdin r.io", "ZZsecret6x"),
    ('RUN echo \'{"password": "aaaa ZZ7"}\' > c', "aaaa ZZ7"),
    ("RUN openssl x -passin pass:aaaaZZ8 -in f", "aaaaZZ8"),
    ("RUN aws configure set aws_secret_access_key aaaaZZ9bbb", "aaaaZZ9bbb"),
    ('RUN curl -H "X-Api-Key: abcd1 ZZA" h', "abcd1 ZZA"),
    ("RUN wget --header='Authorization: abcdefZZ' h", "abcdefZZ"),
    ("RUN export PASSWORD=$(echo aaaaZZM)", "aaaaZZM"),
    ("RUN docker login -u bob -p aaaaZZP r.io", "aaaaZZP"),
    ('CMD ["mysql" "-paaaaZZC"]', "aaaaZZC"),
)
ORDINARY = (
    "ARG VERSION=1.2.3",
    "ARG TOKEN=",
    "ENV DB_PASSWORD=",
    "ENV PASSWORD_FILE=/run/secrets/x",
    "ENV DB_PASSWORD=$OTHER",
    "RUN docker login -u bob --password-stdin r.example.org < /run/secrets/x",
    "RUN cat /run/secrets/x | docker login -u bob --password-stdin r.example.org",
    "RUN echo $TOKEN | docker login --password-stdin",
    'RUN mysql -p"$PASSWORD" -p db',
    "RUN curl -u $USER:$PASSWORD -H 'X-Api-Key: $KEY' https://example.org:8080/a@b",
    "RUN sshpass -p $X ssh h && mkdir -p /a/b && docker run -p 8080:80 x",
    "RUN pip config set global.index-url https://pypi.org/simple",
    'RUN echo \'{"password": "${PASSWORD}"}\' > c',
    "RUN openssl x -passin env:PASSWORD",
)


def shown(text: str) -> str:
    redactor = Redactor()
    for found in secrets_in_command(text):
        redactor.add(found)
    return redactor.hide(text)


class TestSteps:
    @pytest.mark.parametrize(("step", "value"), QUOTED)
    def test_a_value_is_cut_to_the_end_of_its_word(self, step: str, value: str) -> None:
        assert value in [found.value for found in secrets_in_command(step)]
        assert "LEAK" not in shown(step)

    @pytest.mark.parametrize(("step", "value"), MORE)
    def test_forms_of_commands(self, step: str, value: str) -> None:
        assert [found.value for found in secrets_in_command(step)] == [value]
        assert value not in shown(step)
        assert "ZZ" not in shown(step).replace("ZZs…", "")

    @pytest.mark.parametrize("step", ORDINARY)
    def test_references_and_empty_values_are_none(self, step: str) -> None:
        assert secrets_in_command(step) == []

    def test_words_that_are_known(self) -> None:
        (found,) = secrets_in_words(["psql", "--password", "two words"])
        assert found.value == "two words"

    def test_variables_that_hold_more(self) -> None:
        (found,) = secrets_in_pair("JSON", '{"client_secret":"aaaaZZO"}')
        assert found.value == "aaaaZZO"
        (found,) = secrets_in_pair("DATABASE", "postgres://a:b/ZZN@h/db")
        assert found.value == "b/ZZN"
        (found,) = secrets_in_pair("PASSWORDS", "aaaaZZP,bbbbZZQ")
        assert found.value == "aaaaZZP,bbbbZZQ"

    @given(st.text("ab \"'\\\n;|&()$`#=-:@/{}[]", max_size=60))
    def test_any_text_is_read(self, text: str) -> None:
        secrets_in_command(f"RUN DB_PASSWORD={text}")

    @given(st.text('abcXYZ019 "$;&|#*', min_size=1, max_size=30))
    def test_a_single_quoted_word_is_what_is_between_its_quotes(self, value: str) -> None:
        (command,) = commands(f"run A='{value}' end")
        assert [word.text for word in command.words] == ["run", f"A={value}", "end"]

    def test_a_text_full_of_beginnings_takes_no_time(self) -> None:
        for text in ("'\"" * 20_000, "$(" * 20_000, "`\\" * 20_000, "A_TOKEN=" * 5_000):
            secrets_in_command(text)


class TestHiding:
    def test_a_value_of_three_letters_is_hidden_everywhere(self) -> None:
        redactor = Redactor()
        redactor.add(Found(kind="x", value="q1w"))
        assert redactor.hide("a q1w b") == "a q… b"

    def test_a_plain_word_does_not_spoil_names(self) -> None:
        redactor = Redactor()
        redactor.add(Found(kind="x", value="postgres"))
        redactor.add(Found(kind="x", value="Hunter2hunter"))
        assert redactor.hide_in_name("usr/lib/postgresql") == "usr/lib/postgresql"
        assert redactor.hide_in_name("srv/Hunter2hunter") == "srv/Hunt…"

    @pytest.mark.parametrize("token", [planted.GITHUB, planted.SLACK, planted.NPM, planted.AWS_ID])
    def test_tokens_are_hidden_in_paths_users_and_labels(self, token: str, tmp_path: Path) -> None:
        image = small_image(
            [
                file(f"app/{token}/.env", 25, f"DB_PASSWORD={planted.ENV_PASSWORD}\n"[:25]),
                file(f"app/{token}/su", 1, mode=0o4755),
                file(f"{token}/x.dist-info/METADATA", 24, f"Name: {token}\nVersion: 1\n"),
            ],
            config={"config": {"User": token, "Labels": {token: token}}},
        )
        with Layout.existing(str(write_image(tmp_path, image))) as layout:
            (root,) = layout.roots()
            facts = gather_facts(look_inside(layout, root))
        assert token not in repr(facts)
        assert {one.path for one in facts.loose} == {f"app/{token[:4]}…/su"}
        assert re.fullmatch(r".{4}…", facts.user)

    def test_tokens_in_paths_are_found_where_they_come_first(self, tmp_path: Path) -> None:
        image = small_image(
            [
                folder(f"srv/{planted.GITHUB}"),
                file(f"srv/{planted.GITHUB}/a", 1),
                file(f"app/{planted.SLACK}/b", 1),
                file(f"usr/share/doc/{planted.AWS_ID}.txt", 1),
            ],
            [file(f"srv/{planted.GITHUB}/c", 1), file(f"app/{planted.NPM}.bak", 1)],
            [gone(f"app/{planted.NPM}.bak")],
        )
        with Layout.existing(str(write_image(tmp_path, image))) as layout:
            (root,) = layout.roots()
            found = gather_facts(look_inside(layout, root)).secrets
        assert {(one.place, one.path, one.kind, one.layer, one.hidden_by) for one in found} == {
            ("path", f"srv/{planted.GITHUB[:4]}…", "GitHub token", 1, None),
            ("path", f"app/{planted.SLACK[:4]}…", "Slack token", 1, None),
            ("path", f"app/{planted.NPM[:4]}….bak", "npm token", 2, 3),
        }
        assert len(found) == 3
