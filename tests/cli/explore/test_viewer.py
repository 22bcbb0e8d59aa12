"""Files on the screen."""

from ocitool.cli.explore.viewer import shown


def test_text_is_shown_as_it_is_with_control_characters_escaped() -> None:
    assert shown("one\n\ttwo \x1b[31mü\n".encode()) == ["one", "        two \\x1b[31mü", ""]


def test_text_whose_last_character_is_cut_is_still_text() -> None:
    assert shown("aü".encode()[:-1]) == ["a"]


def test_other_bytes_are_shown_in_hex() -> None:
    assert shown(bytes(range(65, 83)) + b"\0\xff") == [
        "00000000  41 42 43 44 45 46 47 48  49 4a 4b 4c 4d 4e 4f 50  |ABCDEFGHIJKLMNOP|",
        "00000010  51 52 00 ff                                       |QR..|",
    ]


def test_an_empty_file_has_one_empty_line() -> None:
    assert shown(b"") == [""]
