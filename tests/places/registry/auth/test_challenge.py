"""Reading WWW-Authenticate headers."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocitool.places.registry.auth.challenge import (
    Challenge,
    answerable,
    lacking_scopes,
    parse_challenges,
)

HUB = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:a/b:pull"'
)
WORDS = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_", min_size=1, max_size=12)


def parse(*values: str) -> list[tuple[str, dict[str, str]]]:
    return [(one.scheme, dict(one.parameters)) for one in parse_challenges(values)]


class TestOneHeader:
    def test_docker_hubs_challenge_is_read(self) -> None:
        assert parse(HUB) == [
            (
                "bearer",
                {
                    "realm": "https://auth.docker.io/token",
                    "service": "registry.docker.io",
                    "scope": "repository:a/b:pull",
                },
            )
        ]

    def test_two_challenges_on_one_line_stay_two(self) -> None:
        assert parse('Basic realm="x", Bearer realm="https://y/t"') == [
            ("basic", {"realm": "x"}),
            ("bearer", {"realm": "https://y/t"}),
        ]

    def test_an_empty_value_does_not_swallow_the_next_parameter(self) -> None:
        assert parse('Bearer service="",scope="a"') == [("bearer", {"service": "", "scope": "a"})]

    def test_a_comma_inside_quotes_separates_nothing(self) -> None:
        found = parse('Bearer realm="https://y/t",scope="repository:a:pull,push", Basic realm=z')
        assert found[0][1]["scope"] == "repository:a:pull,push"
        assert [scheme for scheme, _ in found] == ["bearer", "basic"]

    def test_a_challenge_inside_quotes_is_text(self) -> None:
        assert parse('Basic realm="x, Bearer realm=evil"') == [
            ("basic", {"realm": "x, Bearer realm=evil"})
        ]

    def test_an_escaped_quote_belongs_to_the_value(self) -> None:
        assert parse(r'Basic realm="the \"best\" \\ one"') == [
            ("basic", {"realm": r'the "best" \ one'})
        ]

    def test_names_of_schemes_and_parameters_have_no_case(self) -> None:
        assert parse('BEARER Realm="x",SERVICE=y') == [("bearer", {"realm": "x", "service": "y"})]

    @pytest.mark.parametrize(
        ("header", "realm"),
        [
            ("Bearer realm=https://x/y?z=1", "https://x/y?z=1"),
            ("Bearer realm=https://x/y,service=s", "https://x/y"),
            ("Bearer service=s , realm=https://x/y", "https://x/y"),
            ('Bearer  realm = "https://x/y"', "https://x/y"),
            ('Bearer realm="https://x/y" service="s"', "https://x/y"),
            ('Bearer realm="https://x/y",,service="s"', "https://x/y"),
            (',Bearer realm="https://x/y"', "https://x/y"),
        ],
    )
    def test_a_realm_is_read_in_every_spelling(self, header: str, realm: str) -> None:
        ((scheme, parameters),) = parse(header)
        assert scheme == "bearer"
        assert parameters["realm"] == realm

    @pytest.mark.parametrize(
        ("header", "schemes"),
        [
            ('Negotiate, Basic realm="x"', ["negotiate", "basic"]),
            ('Negotiate oRQwEg==, Basic realm="x"', ["negotiate", "basic"]),
            ('NTLM TlRMTVNTUAAC, Negotiate, Basic realm="x"', ["ntlm", "negotiate", "basic"]),
            ('Digest qop="auth", nonce=ab/c==, Basic realm="x"', ["digest", "basic"]),
        ],
    )
    def test_a_scheme_that_is_not_ours_hides_no_other(
        self, header: str, schemes: list[str]
    ) -> None:
        found = parse(header)
        assert [scheme for scheme, _ in found] == schemes
        assert found[-1] == ("basic", {"realm": "x"})

    def test_of_a_parameter_given_twice_the_first_counts(self) -> None:
        assert parse('Bearer realm="a", realm="b"') == [("bearer", {"realm": "a"})]

    def test_a_scheme_may_stand_alone(self) -> None:
        assert parse("Basic") == [("basic", {})]

    @pytest.mark.parametrize("header", ["", " , ,", '"', '"Basic realm=x"', "=", "@@@", "é"])
    def test_garbage_is_no_challenge(self, header: str) -> None:
        assert parse(header) == []

    @pytest.mark.parametrize("garbage", ["@", "=x", '"quoted"', 'realm="x"', "é/é"])
    def test_what_comes_after_garbage_is_read(self, garbage: str) -> None:
        assert parse(f'{garbage}, Basic realm="y"') == [("basic", {"realm": "y"})]

    def test_a_value_whose_quotes_do_not_end_is_left_out(self) -> None:
        assert parse('Bearer service="s",realm="https://x') == [("bearer", {"service": "s"})]


class TestSeveralHeaders:
    def test_they_keep_their_order(self) -> None:
        assert [scheme for scheme, _ in parse('Basic realm="x"', HUB, "Negotiate")] == [
            "basic",
            "bearer",
            "negotiate",
        ]

    def test_a_broken_one_spoils_no_other(self) -> None:
        assert parse('Bearer realm="', 'Basic realm="x"')[-1] == ("basic", {"realm": "x"})


class TestWhatCanBeAnswered:
    def test_only_basic_and_a_bearer_with_a_realm(self) -> None:
        challenges = parse_challenges(['Negotiate, Bearer service=s, Bearer realm="r", Basic'])
        assert [one.scheme for one in answerable(challenges)] == ["bearer", "basic"]

    def test_the_scopes_that_a_token_lacks_are_named(self) -> None:
        header = (
            'Bearer realm="r",scope="repository:a:pull,push repository:b:pull",'
            'error="insufficient_scope"'
        )
        assert lacking_scopes(parse_challenges([header])) == (
            "repository:a:pull,push",
            "repository:b:pull",
        )

    def test_scopes_without_that_error_are_none_that_a_token_lacks(self) -> None:
        assert lacking_scopes(parse_challenges([HUB])) == ()


class TestAnyText:
    @given(st.lists(st.text(max_size=60), max_size=4))
    def test_nothing_raises(self, values: list[str]) -> None:
        assert all(isinstance(one, Challenge) for one in parse_challenges(values))

    @given(st.text('aB ,="\\/:;@\t', max_size=40))
    def test_what_looks_like_a_header_does_not_raise(self, value: str) -> None:
        assert all(one.scheme == one.scheme.lower() for one in parse_challenges([value]))

    @given(
        st.lists(
            st.tuples(WORDS, st.dictionaries(WORDS.map(str.lower), st.text(max_size=20))),
            max_size=4,
        )
    )
    def test_what_was_written_by_the_rules_reads_back(
        self, challenges: list[tuple[str, dict[str, str]]]
    ) -> None:
        header = ", ".join(
            f"{scheme} " + ", ".join(f'{key}="{escaped(value)}"' for key, value in items.items())
            for scheme, items in challenges
        )
        assert parse(header) == [(scheme.lower(), items) for scheme, items in challenges]

    @pytest.mark.parametrize("piece", ['"', '"\\', "a ", 'a="', "a=\\", ", ", "a a= ", "\\"])
    def test_the_time_grows_with_the_length_alone(self, piece: str) -> None:
        begin = time.perf_counter()
        parse_challenges([piece * (60_000 // len(piece))])
        assert time.perf_counter() - begin < 2


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
