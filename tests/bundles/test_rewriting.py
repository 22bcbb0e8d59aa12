"""New names in a file: only the names change, twice is once, what the map lacks is told."""

import difflib
import json

import pytest
import yaml

from ocitool.bundles.mapping import MappedImage
from ocitool.bundles.names import names_in
from ocitool.bundles.rewriting import Change, NewNames, Pin, Rewritten, rewrite
from ocitool.errors import UsageError
from tests.support.command import FIXTURES

ONE, TWO, THREE = (f"sha256:{letter * 64}" for letter in "abc")


def mapped(old: str, new: str, digest: str = ONE) -> MappedImage:
    return MappedImage(from_=old, to=new, digest=digest)


MAP = [
    mapped("docker.io/library/nginx:1.25", "site.example/m/nginx:1.25"),
    mapped("r.example/a:1", "site.example/m/a:1", TWO),
    mapped("r.example/b:2", "site.example/m/b:2", THREE),
]


def run(
    text: str | bytes,
    images: list[MappedImage] | None = None,
    pin: Pin = "both",
    *,
    include_candidates: bool = False,
) -> Rewritten:
    """Rewrite a file; a second run has to change nothing."""
    data = text if isinstance(text, bytes) else text.encode()
    names = NewNames(images or MAP, pin)
    done = rewrite(data, names_in(data, "in.yaml", include_candidates=include_candidates), names)
    found = names_in(done.data, "in.yaml", include_candidates=include_candidates)
    again = rewrite(done.data, found, names)
    assert (again.data, again.changes) == (done.data, ())
    return done


def changed(
    text: str, images: list[MappedImage] | None = None, *, include_candidates: bool = False
) -> str:
    done = run(text, images, include_candidates=include_candidates)
    assert done.missing == ()
    return done.data.decode()


ODD = (
    "\ufeff# nginx:1.25 stays here\r\n"
    "kind: Pod\r\n"
    "metadata: {name: 'x',   labels: {}}   # spaces\r\n"
    "spec:\r\n"
    "  containers:\r\n"
    '  - image:   "nginx:1.25"   # nginx:1.25\r\n'
    "    args: [ 'nginx:1.25', r.example/a:1 ]\r\n"
    "  - image: &a r.example/a:1\r\n"
    "  - image: *a\r\n"
    "  - image: >-   # r.example/b:2\r\n"
    "      r.example/b:2\r\n"
    "\r\n"
    "    name: folded\r\n"
    "  - {name: flow, image: 'r.example/b:2'}\r\n"
    "text: |\r\n"
    "  nginx:1.25\r\n"
    "...\r\n"
    "# the end"
)


class TestA20OnlyTheNames:
    def test_every_other_byte_stays(self) -> None:
        got = changed(ODD)
        nginx = f"site.example/m/nginx:1.25@{ONE}"
        a, b = f"site.example/m/a:1@{TWO}", f"site.example/m/b:2@{THREE}"
        assert got.splitlines(keepends=True) == [
            "\ufeff# nginx:1.25 stays here\r\n",
            "kind: Pod\r\n",
            "metadata: {name: 'x',   labels: {}}   # spaces\r\n",
            "spec:\r\n",
            "  containers:\r\n",
            f'  - image:   "{nginx}"   # nginx:1.25\r\n',
            "    args: [ 'nginx:1.25', r.example/a:1 ]\r\n",
            f"  - image: &a {a}\r\n",
            "  - image: *a\r\n",
            "  - image: >-   # r.example/b:2\r\n",
            f"      {b}\r\n",
            "\r\n",
            "    name: folded\r\n",
            f"  - {{name: flow, image: '{b}'}}\r\n",
            "text: |\r\n",
            "  nginx:1.25\r\n",
            "...\r\n",
            "# the end",
        ]

    def test_candidates_change_on_request_and_only_the_part_that_is_a_name(self) -> None:
        text = (
            'kind: X\nspec: {a: ["--x=r.example/a:1", "r.example/b:2"]}\n'
            'e: "--y=r.example\\/a:1"\nname: r.example/a\n'
        )
        assert changed(text, include_candidates=True) == (
            f'kind: X\nspec: {{a: ["--x=site.example/m/a:1@{TWO}", '
            f'"site.example/m/b:2@{THREE}"]}}\n'
            f'e: "--y=site.example/m/a:1@{TWO}"\nname: r.example/a\n'
        )

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"r.example\\/a:1"', f'"site.example/m/a:1@{TWO}"'),
            ('"r.example/\\\n     a\\x3a1"', f'"site.example/m/a:1@{TWO}"'),
            ("!!str r.example/a:1", f"!!str site.example/m/a:1@{TWO}"),
            ('&x !t "r.example/a:1"', f'&x !t "site.example/m/a:1@{TWO}"'),
        ],
    )
    def test_values_that_are_written_in_another_way(self, old: str, new: str) -> None:
        frame = "spec:\n  containers:\n  - image: {}\n"
        assert changed(frame.format(old)) == frame.format(new)

    def test_json_stays_json(self) -> None:
        text = json.dumps(
            {"x": "\u00e4\U0001f600", "containers": [{"image": "r.example/a:1"}]}, indent="\t"
        )
        assert changed(text) == text.replace("r.example/a:1", f"site.example/m/a:1@{TWO}")

    def test_a_host_that_yaml_would_take_for_a_list_gets_quotes(self) -> None:
        images = [mapped("r.example/a:1", "[::1]:5000/a:1")]
        got = changed("containers:\n- image: r.example/a:1\n- image: 'r.example/a:1'\n", images)
        name = f"[::1]:5000/a:1@{ONE}"
        assert got == f"containers:\n- image: \"{name}\"\n- image: '{name}'\n"

    def test_a_list_keeps_its_comments(self) -> None:
        text = "# what\n\n nginx:1.25  # web\r\nr.example/a:1\n"
        assert changed(text) == (
            f"# what\n\n site.example/m/nginx:1.25@{ONE}  # web\r\nsite.example/m/a:1@{TWO}\n"
        )

    def test_a_lock_has_digests_alone_and_keeps_its_annotations(self) -> None:
        text = (FIXTURES / "names" / "images.yml").read_text()
        digest = "sha256:" + "5d6886352544214ef31b3c512237e4a75be737edab271c6d23a920afdf41bf83"
        done = run(text, [mapped("127.0.0.1:5071/t/a:1", "site.example/t/a:1", digest)], pin="tag")
        assert [one.old[:18] for one in done.missing] == [f"127.0.0.1:5071/t/{x}" for x in "bcd"]
        assert done.data.decode() == text.replace(
            f"127.0.0.1:5071/t/a@{digest}", f"site.example/t/a@{digest}"
        )

    def test_compose_with_merges_changes_the_one_value(self) -> None:
        text = "x: &x\n  image: r.example/a:1 # base\nservices:\n  a: {<<: *x}\n  b: {<<: *x}\n"
        done = run(text)
        assert done.data.decode() == text.replace("r.example/a:1", f"site.example/m/a:1@{TWO}")
        assert done.changes == (
            Change(
                file="in.yaml",
                line=2,
                column=10,
                old="r.example/a:1",
                new=f"site.example/m/a:1@{TWO}",
            ),
        )


class TestA20Kustomize:
    def test_fields_are_set_and_added_where_they_lack(self) -> None:
        text = (
            "images:\r\n"
            "- name: nginx # web\r\n"
            "  newTag: '1.25'\r\n"
            f"- newName: r.example/a\r\n"
            f"  digest: {TWO}\r\n"
            "  name: a\r\n"
            '- {name: r.example/b, newTag: "2"}\r\n'
        )
        assert changed(text) == (
            "images:\r\n"
            "- name: nginx # web\r\n"
            "  newName: site.example/m/nginx\r\n"
            f"  digest: {ONE}\r\n"
            "  newTag: '1.25'\r\n"
            '- newTag: "1"\r\n'
            "  newName: site.example/m/a\r\n"
            f"  digest: {TWO}\r\n"
            "  name: a\r\n"
            '- {name: r.example/b, newName: "site.example/m/b", '
            f'digest: "{THREE}", newTag: "2"}}\r\n'
        )

    def test_what_is_written_is_what_kustomize_reads(self) -> None:
        text = "images:\n  - name: nginx\n    newTag: '1.25'\nresources: []\n"
        images = [mapped("docker.io/library/nginx:1.25", "site.example/n:1.30")]
        assert yaml.safe_load(changed(text, images)) == {
            "images": [
                {"name": "nginx", "newName": "site.example/n", "newTag": "1.30", "digest": ONE}
            ],
            "resources": [],
        }

    def test_json(self) -> None:
        text = '{"images": [{"name": "r.example/b", "newTag": "2"}]}'
        (entry,) = json.loads(changed(text))["images"]
        assert entry == {
            "name": "r.example/b",
            "newName": "site.example/m/b",
            "newTag": "2",
            "digest": THREE,
        }

    def test_a_value_of_two_images_cannot_become_two(self) -> None:
        text = "images:\n- {name: a, newTag: &t v1}\n- {name: b, newTag: *t}\n"
        images = [
            mapped("docker.io/library/a:v1", "s.example/a:v1"),
            mapped("docker.io/library/b:v1", "s.example/b:v2", TWO),
        ]
        with pytest.raises(UsageError, match="another image's too"):
            run(text, images)


class TestA20Missing:
    def test_all_are_told_with_their_lines(self) -> None:
        text = "containers:\n- image: r.example/a:1\n- image: x:1\n- image: r.example/a:2\n"
        done = run(text)
        assert [(one.line, one.old) for one in done.missing] == [(3, "x:1"), (4, "r.example/a:2")]

    def test_a_tag_with_another_digest_is_another_image(self) -> None:
        done = run(f"containers: [{{image: 'r.example/a:1@{THREE}'}}]")
        assert len(done.missing) == 1


class TestA5Digests:
    @pytest.mark.parametrize("name", [f"r.example/a@{TWO}", f"r.example/a:1@{TWO}"])
    def test_a_digest_finds_its_image_and_stays(self, name: str) -> None:
        text = f"containers: [{{image: '{name}'}}]"
        assert changed(text) == text.replace(name, f"site.example/m/a:1@{TWO}")

    def test_an_image_by_digest_alone_has_no_tag_there_either(self) -> None:
        images = [mapped(f"r.example/a@{TWO}", f"s.example/a@{TWO}", TWO)]
        text = f"containers: [{{image: 'r.example/a@{TWO}'}}]"
        for pin in ("both", "digest", "tag"):
            done = run(text, images, pin)
            assert done.data.decode() == text.replace("r.example", "s.example")

    @pytest.mark.parametrize(
        ("pin", "new"),
        [
            ("both", f"site.example/m/a:1@{TWO}"),
            ("digest", f"site.example/m/a@{TWO}"),
            ("tag", "site.example/m/a:1"),
        ],
    )
    def test_tag_digest_or_both(self, pin: Pin, new: str) -> None:
        done = run("containers: [{image: 'r.example/a:1'}]", pin=pin)
        assert done.data.decode() == f"containers: [{{image: '{new}'}}]"


class TestA20Twice:
    def test_a_map_that_leads_on_and_on_is_refused(self) -> None:
        images = [
            mapped("a.example/a:1", "b.example/a:1", ONE),
            mapped("b.example/a:1", "c.example/a:1", ONE),
        ]
        with pytest.raises(UsageError, match="further on"):
            NewNames(images)

    def test_tags_of_one_image_stay_apart(self) -> None:
        images = [mapped(f"r.example/a:{tag}", f"s.example/a:{tag}") for tag in ("1", "latest")]
        for pin in ("both", "digest", "tag"):
            done = run("containers: [{image: r.example/a}]", images, pin)
            assert done.data.decode().count("s.example/a") == 1

    def test_a_map_of_names_that_stay(self) -> None:
        images = [mapped("r.example/a:1", "r.example/a:1")]
        assert changed("containers: [{image: 'r.example/a:1'}]", images) == (
            f"containers: [{{image: 'r.example/a:1@{ONE}'}}]"
        )


def test_a20_the_proof_file_differs_in_its_names_alone() -> None:
    old, new = ODD.splitlines(), changed(ODD).splitlines()
    lines = [line for line in difflib.ndiff(old, new) if line[0] in "+-"]
    assert len(lines) == 2 * 4
