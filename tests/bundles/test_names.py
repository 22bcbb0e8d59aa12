"""Which images a file names: lists, Kubernetes, compose, Kustomize, Helm's output, locks."""

import json
import textwrap
import time

import pytest

from ocitool.bundles.names import NamesFound, NoImage, names_in
from ocitool.errors import LimitExceeded, MalformedDocument, OcitoolError, UsageError
from tests.support.command import FIXTURES

DIGEST = "sha256:" + "ab" * 32


def found(text: str, **options: bool) -> NamesFound:
    return names_in(textwrap.dedent(text).encode(), "in.yaml", **options)


def places(text: str) -> list[tuple[str, int, int]]:
    """Return the names with their lines and columns."""
    return [(one.name, one.line, one.column) for one in found(text).images]


def candidates(text: str) -> list[tuple[str, int]]:
    return [(one.name, one.line) for one in found(text).candidates]


def refused(text: str | bytes, kind: type[OcitoolError]) -> OcitoolError:
    data = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
    with pytest.raises(kind) as caught:
        names_in(data, "in.yaml")
    return caught.value


POD = """
kind: Pod
spec:
  containers:
  - image: a.example/{}:1
"""


class TestA5Digests:
    @pytest.mark.parametrize("name", [f"a.example/b@{DIGEST}", f"a.example/b:1@{DIGEST}"])
    def test_a_digest_and_the_tag_beside_it_are_kept(self, name: str) -> None:
        assert found(f"kind: Pod\nspec: {{containers: [{{image: '{name}'}}]}}").names == (name,)
        assert found(f"services: {{a: {{image: {name}}}}}").names == (name,)
        assert found(f"# list\n{name}\n").names == (name,)

    def test_a_lock_of_ours_gives_the_tag_back(self) -> None:
        lock = f"""
            apiVersion: imgpkg.carvel.dev/v1alpha1
            kind: ImagesLock
            images:
            - image: a.example/b@{DIGEST}
              annotations: {{ocitool/name: 'a.example/b:1'}}
            - image: site.example/b@{DIGEST}
              annotations: {{ocitool/name: 'a.example/b:1'}}
            """
        assert found(lock).names == (f"a.example/b:1@{DIGEST}", f"site.example/b@{DIGEST}")


class TestA19Lists:
    def test_comments_blank_lines_marks_and_line_breaks(self) -> None:
        text = "\ufeff# what we need\r\n\r\n  a:1  # the first\nb:2\t# x\rc@x\n   # end"
        got = names_in(text.encode(), "list")
        assert [(one.name, one.line, one.column) for one in got.images] == [
            ("a:1", 3, 3),
            ("b:2", 4, 1),
            ("c@x", 5, 1),
        ]
        assert {one.form for one in got.images} == {"list"}

    def test_the_mark_at_the_beginning_is_no_column(self) -> None:
        assert names_in(b"\xef\xbb\xbfa:1", "list").images[0].column == 1

    @pytest.mark.parametrize("text", ["[::1]:5000/a:1\n", "a\n", "docker-daemon:a:1", "a:v1.*"])
    def test_these_are_lists(self, text: str) -> None:
        assert names_in(text.encode(), "list").names == (text.strip(),)

    def test_no_name_at_all(self) -> None:
        assert "holds no names" in refused("# nothing\n", NoImage).message


class TestA19Kubernetes:
    def test_all_containers_of_any_kind_at_any_depth(self) -> None:
        text = """\
            apiVersion: v1
            kind: List
            items:
            - kind: CronJob
              spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: cron:1}]}}}}}
            - apiVersion: example.com/v7
              kind: Rollout
              spec:
                template:
                  spec:
                    initContainers:
                    - name: x
                      image: "init:2"
                    containers:
                    - image: 'main:3'
                    ephemeralContainers:
                    - {image: debug:4}
                    volumes:
                    - name: model
                      image: {reference: model:5, pullPolicy: Always}
                    - name: other
                      configMap: {name: image}
            """
        assert places(text) == [
            ("cron:1", 5, 70),
            ("init:2", 13, 19),
            ("main:3", 15, 19),
            ("debug:4", 17, 19),
            ("model:5", 20, 30),
        ]
        assert {one.form for one in found(text).images} == {"kubernetes"}

    def test_json_with_tabs_and_escapes(self) -> None:
        pod = {
            "kind": "Pod",
            "x": "\U0001f600 \\ud83d",
            "spec": {"containers": [{"image": "a/b:1"}]},
        }
        text = json.dumps(pod, indent="\t").replace("a/b", "a\\/b")
        assert found(text).names == ("a/b:1",)

    def test_several_documents_and_rendered_hooks_of_helm(self) -> None:
        text = """\
            ---
            # Source: app/templates/deployment.yaml
            kind: Deployment
            spec: {template: {spec: {containers: [{image: app:1}]}}}
            ---
            # Source: app/templates/empty.yaml
            ---
            # Source: app/templates/hook.yaml
            kind: Job
            metadata:
              annotations: {"helm.sh/hook": "pre-install,post-upgrade"}
            spec:
              template:
                spec:
                  containers:
                    - name: migrate
                      image: "migrate:2"
            ...
            """
        assert found(text).names == ("app:1", "migrate:2")

    def test_an_alias_is_the_value_that_it_means_and_stands_there_once(self) -> None:
        text = """\
            x: &name app:1
            kind: Pod
            spec:
              containers:
              - image: *name
              - &second {image: side:2}
              initContainers: [*second, {<<: *second, name: z}]
            """
        assert places(text) == [("app:1", 1, 10), ("side:2", 6, 21)]

    def test_a_schema_is_no_container_and_an_empty_image_is_none(self) -> None:
        text = """
            kind: CustomResourceDefinition
            spec:
              containers:
                type: array
                items: {properties: {image: {type: string}}}
            other: {containers: [{image: ""}, {name: x}, text, {image: real:1}]}
            """
        assert found(text).names == ("real:1",)

    @pytest.mark.parametrize(
        "style", [">-\n      {}\n", "|-  # c a:1\n      {}\n", "&x !t {}", '"{}"']
    )
    def test_every_style_of_a_value(self, style: str) -> None:
        text = "spec:\n  containers:\n  - image: " + style.format("a:1") + "    name: b\n"
        text = text.replace('"    name', '"\n    name').replace("a:1    ", "a:1\n    ")
        (image,) = found(text).images
        assert image.name == "a:1"
        assert not hasattr(image.slot, "texts")
        assert text[image.slot.start : image.slot.end] == "a:1"


class TestA19Compose:
    def test_the_images_of_services(self) -> None:
        text = """\
            name: shop
            x-base: &base
              image: base:1
            services:
              web: {<<: *base, ports: ["80:80"]}
              db:
                <<: [*base]
                image: postgres:16
              built: {build: .}
            volumes: {data: {}}
            """
        assert places(text) == [("base:1", 3, 10), ("postgres:16", 8, 12)]
        assert found(text).images[0].form == "compose"

    def test_services_that_are_merged_in(self) -> None:
        text = "x: &x {a: {image: a:1}}\nservices: {<<: *x, b: {image: b:1}}\n"
        assert found(text).names == ("a:1", "b:1")

    def test_a_variable_is_told_to_be_filled_in(self) -> None:
        error = refused("services: {a: {image: '${HUB}/a:1'}}", UsageError)
        assert error.message.startswith("in.yaml:1:")
        assert "docker compose config" in (error.hint or "")

    def test_services_of_another_kind_are_none(self) -> None:
        text = "kind: X\nservices: {a: {image: a:1}}\nspec: {containers: [{image: b:1}]}\n"
        assert found(text).names == ("b:1",)
        assert candidates(text) == [("a:1", 2)]


class TestA19Kustomize:
    def test_the_fields_of_an_entry_make_one_name(self) -> None:
        text = f"""\
            resources: [a.yaml]
            images:
            - name: nginx
              newTag: "1.25"
            - name: b
              newName: c.example/d
              digest: {DIGEST}
            - {{name: e, newTag: v1, digest: "{DIGEST}"}}
            - name: unchanged
            """
        assert places(text) == [
            ("nginx:1.25", 3, 9),
            (f"c.example/d@{DIGEST}", 5, 9),
            (f"e:v1@{DIGEST}", 8, 10),
        ]

    def test_a_tag_that_another_file_has_is_not_guessed(self) -> None:
        error = refused("images:\n- name: a\n  newName: b.example/a\n", UsageError)
        assert error.message == "in.yaml:2: the tag of 'b.example/a' is not in this file"
        assert "kubectl kustomize" in (error.hint or "")

    def test_one_without_images_is_to_be_rendered(self) -> None:
        error = refused("kind: Kustomization\nresources: [a.yaml]\n", NoImage)
        assert "kubectl kustomize" in (error.hint or "")


class TestA19Lock:
    def test_a_lock_of_imgpkg(self) -> None:
        got = names_in((FIXTURES / "names" / "images.yml").read_bytes(), "images.yml")
        assert [(one.name, one.line) for one in got.images] == [
            (f"127.0.0.1:5071/t/{letter}@sha256:{digest}", line)
            for letter, digest, line in (
                ("a", "5d6886352544214ef31b3c512237e4a75be737edab271c6d23a920afdf41bf83", 4),
                ("b", "9b895c8f1c079d2fadd404d2da640cd4e58bdab74925d43a8f0b2de59b74c568", 6),
                ("c", "bd798cbdcfdc67f9a28658056a45660645e5bb03565e4e8f43e4b69d60500f4a", 8),
                ("d", "a6c01bb0496363c4d61a77a24d3c53aa009a554a2a8bafe121a4085515d3b15e", 10),
            )
        ]
        assert got.candidates == ()

    def test_an_entry_without_an_image_is_told(self) -> None:
        head = "apiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\n"
        text = f"{head}images:\n- annotations: {{a: b}}\n"
        assert refused(text, UsageError).message == "in.yaml:4: an entry of the lock has no image"


class TestA19Candidates:
    TEXT = """\
        kind: Foo
        metadata: {annotations: {x: "quay.io/n/note:1"}, name: quay.io/not-this}
        spec:
          image: widget
          sidecarImage: side
          imagePullPolicy: IfNotPresent
          role: system:image-puller
          other: rbac.example.io/role
          tool: example.io/tool:latest
          port: localhost:8080/healthz
          address: https://quay.io/a/b:1
          lots: 12:30
        ---
        kind: Deployment
        spec:
          containers:
          - image: real.example/a:1
            args: ["--sidecar-image=side:2", "--config=a/b:c", "--proxy=quay.io/proxy:3", "-v=1"]
            env:
            - {name: RELATED_IMAGE_DB, value: db:4}
            - {name: TIME, value: 12:30}
            - {name: PAIR, value: "quay.io/x@%s"}
        """
    TEXT = TEXT.replace("%s", DIGEST)
    EXPECTED = (
        ("quay.io/n/note:1", 2),
        ("widget", 4),
        ("side", 5),
        ("example.io/tool:latest", 9),
        ("side:2", 18),
        ("quay.io/proxy:3", 18),
        ("db:4", 20),
        (f"quay.io/x@{DIGEST}", 22),
    )

    def test_values_that_look_like_images_are_only_listed(self) -> None:
        assert found(self.TEXT).names == ("real.example/a:1",)
        assert candidates(self.TEXT) == list(self.EXPECTED)

    def test_they_are_images_on_request_in_the_order_of_the_file(self) -> None:
        got = found(self.TEXT, include_candidates=True)
        names = [name for name, _ in self.EXPECTED]
        assert list(got.names) == [*names[:4], "real.example/a:1", *names[4:]]
        assert got.candidates == ()

    @pytest.mark.parametrize("text", ["- r.example/a:1\n- b\n", '[["r.example/a:1", "b"]]'])
    def test_so_are_the_items_of_lists(self, text: str) -> None:
        assert found(text, include_candidates=True).names == ("r.example/a:1",)

    def test_a_file_of_candidates_alone_names_no_image(self) -> None:
        error = refused("kind: Foo\nspec: {image: a:1}\n", NoImage)
        assert error.message == "in.yaml names no image"
        assert "--include-candidates" in (error.hint or "")
        assert found("kind: Foo\nspec: {image: a:1}\n", include_candidates=True).names == ("a:1",)


class TestA19Templates:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("kind: Pod\nspec:\n  containers:\n  - image: {{ .Values.image }}\n", 4),
            ("kind: Pod\nspec:\n  containers:\n  - image: {{ .Values.a }}:{{ .Values.b }}\n", 4),
            ('kind: Pod\nspec:\n  containers:\n  - image: "{{ .Values.a }}:1"\n', 4),
            ("{{- if .Values.x }}\nkind: Pod\n{{- end }}\n", 1),
        ],
    )
    def test_what_is_not_filled_in_is_to_be_rendered(self, text: str, line: int) -> None:
        error = refused(text, UsageError)
        assert error.message.startswith(f"in.yaml:{line} is a template")
        assert (error.hint or "").startswith("render first: helm template")

    def test_braces_in_a_text_are_none(self) -> None:
        text = 'a: "{{ $labels.pod }}"\nspec: {containers: [{image: a:1}]}\n'
        assert found(text).names == ("a:1",)


class TestA19Hostile:
    """Whatever a file holds: an answer or one of our errors, within bounds."""

    def test_very_deep(self) -> None:
        assert "levels deep" in refused(b"[" * 100_000, LimitExceeded).message
        assert "levels deep" in refused(b"a:\n - " + b"- " * 100_000, LimitExceeded).message

    def test_aliases_of_aliases(self) -> None:
        lines = ["a: &a0 {image: a:1}", "b: &b0 [*a0]"]
        lines += [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, 200)]
        assert found("\n".join([*lines, "containers: *b0", "x: *b199"])).names == ("a:1",)

    def test_merges_of_merges(self) -> None:
        lines = ["m0: &m0 {image: a:1}"]
        lines += [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 60)]
        assert found("\n".join([*lines, "containers: [<<: *m59]"])).names == ("a:1",)

    def test_a_chain_of_merges_without_end(self) -> None:
        lines = ["m0: &m0 {image: a:1}"]
        lines += [f"m{n}: &m{n} {{<<: *m{n - 1}}}" for n in range(1, 300)]
        refused("\n".join([*lines, "containers: [<<: *m299]"]), LimitExceeded)

    def test_what_leads_back_to_itself(self) -> None:
        text = "a: &a\n  <<: *a\n  containers: [*a, {<<: *a, image: a:1}]\n"
        assert found(text).names == ("a:1",)

    @pytest.mark.parametrize(
        ("data", "kind", "told"),
        [
            ("kind: Pod".encode("utf-16"), UsageError, "not UTF-8"),
            (b"kind: \xff\xfe", UsageError, "not UTF-8"),
            (b"a: *b\n", MalformedDocument, "in.yaml:1: nothing has the anchor 'b'"),
            (b"a: [1\nb: 2\n", MalformedDocument, "in.yaml:2: this is not YAML"),
            (b"a: b\n\x00", MalformedDocument, "not YAML"),
            (b"a: '\n", MalformedDocument, "not YAML"),
            (b"a: \t\x07", MalformedDocument, "not YAML"),
            (b"%YAML 9.9\n---\na: b", MalformedDocument, "not YAML"),
            (b"kind: [a, b]\nspec: {}\n", NoImage, "names no image"),
            (b"kind: Pod\nspec: {containers: [{image: A/B}]}", UsageError, "in.yaml:2: 'A/B'"),
            (b"\x20" * ((16 << 20) + 1), UsageError, "larger than 16 MiB"),
        ],
    )
    def test_one_error_that_says_what_and_where(
        self, data: bytes, kind: type[OcitoolError], told: str
    ) -> None:
        assert told in refused(data, kind).message

    def test_marks_and_line_breaks_of_windows(self) -> None:
        text = "\ufeffkind: Pod\r\nspec:\r\n  containers:\r\n  - image: a:1\r\n"
        assert places(text) == [("a:1", 4, 12)]

    def test_very_many_values_end_soon(self) -> None:
        started = time.process_time()
        refused(b"- a.b/c:1\n" * 600_000, LimitExceeded)
        assert time.process_time() - started < 20
