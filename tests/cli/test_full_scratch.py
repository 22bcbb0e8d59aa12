"""A disk for temporary files that fills up is named, with the option that chooses another."""

from pathlib import Path

import pytest

from tests.places.registry.pushes import NAME
from tests.support.command import Command
from tests.support.disk import small_disk
from tests.support.images import build_image, docker_archive, oci_archive
from tests.support.registry import EmulatedRegistry

IMAGE = build_image([{"zeros": bytes(3_000_000)}], compression="none")


class TestFullScratch:
    @pytest.mark.parametrize("what", ["pipe", "compressed-file", "conversion"])
    def test_it_is_named_with_the_option(self, ocitool: Command, tmp_path: Path, what: str) -> None:
        file = tmp_path / "x.tar"
        data = (
            docker_archive({"a:1": IMAGE}) if what == "conversion" else oci_archive({"a:1": IMAGE})
        )
        file.write_bytes(data)
        with small_disk(tmp_path / "small", "1m") as disk, EmulatedRegistry() as registry:
            source = ("-",) if what == "pipe" else (file,)
            done = ocitool(
                "--tmp-dir",
                disk,
                "push",
                *source,
                f"{registry.host}/{NAME}:1",
                "--compression",
                "none",
                stdin=data if what == "pipe" else b"",
            )
            assert done.code == 9, done.err
            assert f"{disk}" in done.err
            assert "no space left" in done.err
            assert "--tmp-dir DIR" in done.err
