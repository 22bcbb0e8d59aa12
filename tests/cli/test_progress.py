"""Progress in a log: a line every ten seconds, whatever is waited for."""

import time

import pytest

from ocitool.cli.render.progress import Plain


@pytest.mark.parametrize("doing", ["pushing", "pulling", "making the bundle"])
def test_blobs_that_are_copied_are_called_as_the_command_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], doing: str
) -> None:
    monkeypatch.setattr("ocitool.cli.render.progress._HEARTBEAT", 0.03)
    shown = Plain()
    with shown.busy(doing):
        shown.begin("copying", 2000)
        shown.advance(1000)
        time.sleep(0.1)
        shown.end()
    told = "copying" if doing == "making the bundle" else doing
    assert f"{told}: 1.00 kB of 2.00 kB" in capsys.readouterr().err


def test_a_log_has_a_line_in_time_also_when_no_byte_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ocitool.cli.render.progress._HEARTBEAT", 0.03)
    shown = Plain()
    shown.begin("copying", 2000)
    shown.advance(1000)
    time.sleep(0.15)
    shown.end()
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5
    assert {line.partition(",")[0] for line in lines} == {"copying: 1.00 kB of 2.00 kB"}
    time.sleep(0.08)
    assert capsys.readouterr().err == ""
