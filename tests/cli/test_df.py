"""df, and the columns of images that say who holds what and what it takes."""

import json
from pathlib import Path

from tests.support.command import Command
from tests.support.images import build_artifact, build_image
from tests.support.layouts import bring, store

NOBODY = ("--containers", "none")


def listing(ocitool: Command, config: str) -> Path:
    """Write what `docker inspect` says of one stopped container."""
    path = ocitool.cwd / "containers.json"
    container = {
        "Id": "4f0c" * 16,
        "Name": "/web",
        "Image": config,
        "Config": {"Image": "fmt/app:1.0"},
        "State": {"Status": "exited"},
    }
    path.write_text(json.dumps([container]))
    return path


def image_id(ocitool: Command) -> str:
    rows = json.loads(ocitool("images", "fmt/app", "--json").out)
    return str(rows[0]["image_ids"][0])


def test_what_an_image_alone_occupies_is_what_its_removal_frees(loaded: Command) -> None:
    rows = json.loads(loaded("images", "fmt/app", "--json").out)
    removed = json.loads(loaded("rm", "fmt/app:1.0", "--json").out)
    assert rows[0]["unique"] == removed["waiting"] > 0


def test_df_counts_every_stored_byte_once(loaded: Command) -> None:
    report = json.loads(loaded("df", "--json", *NOBODY).out)
    blobs = [path.stat().st_size for path in (loaded.store / "blobs").rglob("*") if path.is_file()]
    assert report["stored"] == sum(blobs)
    assert report["shared"] + sum(image["unique"] for image in report["images"]) == sum(blobs)
    assert report["garbage"] == 0
    assert report["unheld"] == sum(blobs)


def test_df_says_what_gc_frees_and_what_waits(loaded: Command) -> None:
    loaded("untag", "fmt/app:1.0")
    before = json.loads(loaded("df", "--json", *NOBODY).out)
    done = json.loads(loaded("gc", "-f", "--json", *NOBODY).out)
    assert before["garbage"] == done["done"]["waiting"] > 0
    after = json.loads(loaded("df", "--json", *NOBODY).out)
    assert (after["garbage"], after["waiting"]) == (0, before["garbage"])
    assert "in trash" in loaded("df", *NOBODY).out


def test_df_names_who_holds_an_image(loaded: Command) -> None:
    config = image_id(loaded)
    loaded("pin", "fmt/app:1.0", "--reason", "release")
    loaded("untag", "fmt/app:1.0")
    text = loaded("df", "--containers", f"docker:{listing(loaded, config)}").out
    line = next(line for line in text.splitlines() if line.startswith("<none>"))
    assert "container web" in line
    assert "a pin (release)" in line


def test_images_say_when_a_name_was_lost_and_which_containers_use_the_image(
    loaded: Command,
) -> None:
    config = image_id(loaded)
    loaded("untag", "fmt/app:1.0")
    where = f"docker:{listing(loaded, config)}"
    shown = loaded.on_terminal("images", "--no-trunc", "--containers", where)
    line = next(line for line in shown.splitlines() if line.startswith("<none> was fmt/app"))
    assert "ago" in line or "just now" in line
    assert "container web" in line
    rows = json.loads(loaded("images", "--json", "--containers", where).out)
    (row,) = [row for row in rows if not row["names"]]
    assert row["containers"][0]["name"] == "web"
    assert row["former_name"] == "docker.io/fmt/app:1.0"
    assert row["pin"] is None


def test_images_show_pins(loaded: Command) -> None:
    loaded("pin", "fmt/app:1.0")
    assert "a pin" in loaded("images").out
    rows = json.loads(loaded("images", "fmt/app", "--json").out)
    assert rows[0]["pin"]["name"] == "docker.io/fmt/app:1.0"


def test_images_of_a_source_of_containers_that_cannot_answer_fail_when_it_was_asked_for(
    loaded: Command,
) -> None:
    assert loaded("images", "--containers", f"docker:{loaded.cwd}/absent").code == 6


def test_df_of_a_damaged_store_shows_the_rest_and_why_gc_would_stop(loaded: Command) -> None:
    config = image_id(loaded)
    (loaded.store / "blobs" / config.replace(":", "/")).unlink()
    done = loaded("df", *NOBODY)
    assert done.code == 0
    assert "fmt/app:1.0" in done.out
    assert done.out.count("unknown") == 2
    assert f"gc would stop: fmt/app:1.0 is damaged: blob {config} is missing" in done.err
    report = json.loads(loaded("df", "--json", *NOBODY).out)
    assert (report["garbage"], report["unheld"]) == (None, None)
    assert "is missing" in report["problem"]
    assert report["stored"] > 0


def test_df_of_a_store_with_damaged_pins_shows_the_rest(loaded: Command) -> None:
    (loaded.store / ".ocitool" / "pins.json").write_text("{")
    done = loaded("df", *NOBODY)
    assert (done.code, "fmt/app:1.0" in done.out) == (0, True)
    assert "gc would stop: the list of pins is damaged" in done.err


def test_df_says_which_image_keeps_a_signature(ocitool: Command) -> None:
    image = build_image([{"a": b"1"}])
    with store(ocitool.store, a=image) as layout:
        bring(layout, build_artifact(image.descriptor))
    done = ocitool("df", "--containers", "none")
    assert f"image {image.descriptor.digest.short}, to which it is attached" in done.out
    assert "nothing" not in done.out
