"""Passwords that programs take in ways of their own: `mysql -pX`, `curl -u bob:X`."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ocitool.inside.facts.leaks.assignments import assigned, names_a_secret
from ocitool.inside.facts.leaks.finding import Found, is_placeholder
from ocitool.inside.facts.leaks.shell import Word
from ocitool.inside.facts.words import words as _words

_KIND = "password in a command"
_SHORTEST = 3
_GLUED = frozenset(
    _words("mysql mysqldump mysqladmin mysqlimport mysqlshow mysqlcheck mariadb mariadb-admin")
)
"""Programs whose `-pX` is a password, and whose `-p X` asks for one."""
_APART = {
    **dict.fromkeys(_words("sshpass useradd usermod"), "-p"),
    "redis-cli": "-a",
}
_LOGINS = frozenset(_words("docker podman buildah nerdctl helm skopeo oras crane az cf"))
_FETCHERS = frozenset(_words("curl wget http https"))
_USERS = ("-u", "--user", "-U", "--proxy-user")
_SCHEME = re.compile(r"(?i:basic|bearer|token|digest|apikey|negotiate)\s+")


def passwords_of_programs(words: Sequence[Word]) -> Iterator[Found]:
    """Yield the passwords among the words of one command."""
    for number, word in enumerate(words):
        program = word.text.rpartition("/")[2]
        behind = words[number + 1 :]
        if program in _GLUED:
            yield from _glued(program, "-p", behind)
        elif program in _APART:
            yield from _apart(program, _APART[program], behind)
        elif program in _LOGINS and any(one.text == "login" for one in behind):
            yield from _apart(program, "-p", behind)
        elif program in _FETCHERS:
            yield from _users(behind)
        elif program == "htpasswd":
            yield from _htpasswd(behind)
        elif program in ("config", "configure"):
            yield from _setting(behind)
    yield from _headers(words)
    yield from _openssl(words)


def _found(name: str, word: Word) -> Iterator[Found]:
    value = word.text
    if len(value) >= _SHORTEST and not is_placeholder(value):
        spelled = () if value in word.raw else (word.raw,)
        wide = (word.wide,) if word.wide != word.raw else ()
        yield Found(kind=_KIND, value=value, name=name, spelled=(*spelled, *wide))


def _glued(program: str, option: str, words: Sequence[Word]) -> Iterator[Found]:
    for word in words:
        if word.text.startswith(option):
            yield from _found(program, word.without(option))


def _apart(program: str, option: str, words: Sequence[Word]) -> Iterator[Found]:
    yield from _glued(program, option, words)
    for before, word in pairwise(words):
        if before.text == option:
            yield from _found(program, word)


def _users(words: Sequence[Word]) -> Iterator[Found]:
    for before, word in zip((None, *words), words, strict=False):
        login = None
        if before is not None and before.text in _USERS:
            login = word
        elif word.text.startswith(("--user=", "--proxy-user=")):
            login = word.behind("=")
        elif word.text.startswith("-u") and word.text[2:3].isalnum():
            login = word.without("-u")
        if login is not None and ":" in login.text:
            yield from _found(login.text.partition(":")[0], _unclosed(login.behind(":")))


def _unclosed(word: Word) -> Word:
    # Of "bob:secret" only the quote at the end is left.
    if word.text in word.raw:
        return Word(word.text, word.text, word.text)
    return word


def _htpasswd(words: Sequence[Word]) -> Iterator[Found]:
    """Yield the password of `htpasswd -b FILE USER PASSWORD`; with -n there is no FILE."""
    options = "".join(word.text for word in words if word.text.startswith("-"))
    rest = [word for word in words if not word.text.startswith("-")]
    at = 1 if "n" in options else 2
    if "b" in options and len(rest) > at:
        yield from _found(rest[at - 1].text, rest[at])


def _setting(words: Sequence[Word]) -> Iterator[Found]:
    """Yield the value of `aws configure set NAME VALUE` and `npm config set NAME VALUE`."""
    if len(words) >= 3 and words[0].text == "set" and names_a_secret(words[1].text):
        yield from _found(words[1].text, words[2])


def _headers(words: Sequence[Word]) -> Iterator[Found]:
    for before, word in zip((None, *words), words, strict=False):
        header = word.without("-H") if word.text.startswith("-H") else word
        if word.text.startswith("--header="):
            header = word.behind("=")
        elif header is word and (before is None or before.text not in ("-H", "--header")):
            continue
        name, _, value = header.text.partition(":")
        value = _SCHEME.sub("", value.strip(), count=1)
        if name.strip().lower() in ("authorization", "proxy-authorization"):
            if len(value) >= _SHORTEST and not is_placeholder(value):
                spelled = () if value in word.raw else (word.raw,)
                yield Found(kind="authorization header", value=value, name=name, spelled=spelled)
        elif (found := assigned(name.strip(), value)) is not None:
            spelled = () if found.value in word.raw else (word.raw,)
            yield Found(kind="secret header", value=found.value, name=name, spelled=spelled)


def _openssl(words: Sequence[Word]) -> Iterator[Found]:
    for before, word in pairwise(words):
        if before.text.startswith("-pass") and word.text.startswith("pass:"):
            yield from _found(before.text, word.behind(":"))
