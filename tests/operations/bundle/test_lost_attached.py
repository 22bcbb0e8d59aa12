"""What is attached to an image that is lost is not loaded without it."""

import random
from pathlib import Path

from ocitool.operations.bundle.load import load_into_layout
from tests.support.images import build_artifact, build_image
from tests.support.made_bundles import made, opened
from tests.support.stores import checked, roots_of

ONE, TWO = "docker.io/library/one:1", "docker.io/library/two:1"


def test_a13_what_is_attached_to_a_lost_image_is_left_out_and_all_else_is_loaded(
    tmp_path: Path,
) -> None:
    noise = random.Random(1).randbytes
    images = {name: build_image([{"f": noise(3 << 20)}], compression="none") for name in (ONE, TWO)}
    artifacts = [build_artifact(one.descriptor, name.encode()) for name, one in images.items()]
    made(tmp_path / "x.tar", images, artifacts, volume_size=4 << 20)
    # The small layers of both artifacts are in the first volume, beside one of the large ones.
    with opened(tmp_path / "x.v01of02.tar") as bundle:
        assert bundle.head.volume is not None
        members = {one.digest for one in bundle.head.volume.members}
        loaded = load_into_layout(bundle, str(tmp_path / "s"), is_store=True)
    whole = {n: one for n, one in images.items() if str(one.layers[0].digest) in members}
    (name,) = whole
    assert loaded.check.lost_images == tuple(images.keys() - whole.keys())
    assert roots_of(tmp_path / "s") == {name: whole[name].descriptor.digest}
    assert checked(tmp_path / "s").roots == 2
    assert checked(tmp_path / "s").problems == ()
