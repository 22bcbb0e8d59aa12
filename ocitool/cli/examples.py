"""What help pages show besides options: examples, the forms of sources, and exit codes."""

FORMS = (
    ("NAME[:TAG][@DIGEST]", "an image of the store, or the start of its ID"),
    ("store:NAME", "the same, explicitly"),
    ("oci:DIR[:TAG]", "an OCI image layout; also oci:DIR@DIGEST"),
    ("oci-archive:FILE[:TAG]", "the same in a tar"),
    ("docker-archive:FILE", "what `docker save` writes; also FILE:NAME"),
    ("docker-daemon:NAME", "the docker engine; podman:NAME: podman's"),
    ("docker://NAME", "a registry"),
    ("dir:DIR", "the folder form of skopeo and podman, read only"),
    ("./PATH, /PATH, -", "what is there, known by its content; - is a pipe"),
    ("containerd:", "containerd, by its command ctr, write only"),
    ("ssh://[USER@]HOST/STORE", "the store of another machine, write only"),
)
"""How a source or a destination is written, and what that means."""

_WRITTEN = ("containerd:", "ssh://[USER@]HOST/STORE")
_ALL = tuple(form for form, _ in FORMS if form not in _WRITTEN)
_PLACES = _ALL[2:6] + _ALL[7:]
TAKES: dict[str, tuple[str, ...]] = {
    "images": ("NAME[:TAG][@DIGEST]", *_PLACES),
    "save": ("NAME[:TAG][@DIGEST]", "docker-daemon:NAME"),
    "push": _ALL,
    "copy": (*_ALL, *_WRITTEN),
    "inspect": _ALL,
    "history": _ALL,
    "size": _ALL,
    "export": _ALL,
    "files ls": _ALL,
    "files find": _ALL,
    "files cat": _ALL,
    "files cp": _ALL,
    "facts": _ALL,
    "diff": _ALL,
    "dockerfile": _ALL,
    "verify": ("NAME[:TAG][@DIGEST]", *_PLACES),
    "explore": _ALL,
}
"""The commands that take several forms, and which."""

EXIT_CODES = (
    ("0, 1, 2", "done, failed, wrong usage"),
    (
        "3",
        "no: damage, garbage, a difference, a rule of size or facts is broken, a map lacks names",
    ),
    ("4", "not found: an image, a tag, a repository, a file, a blob"),
    ("5", "missing or insufficient credentials"),
    ("6", "refused to be safe: ambiguous, in use, an immutable tag"),
    ("7", "damaged, malformed or hostile input"),
    ("8", "a registry, an engine or the network is unavailable"),
    ("9", "no space, quota, read-only, no permission, I/O error"),
    ("125, 126, 127", "container run, start: no process; cannot be invoked; not in the image"),
    ("130, 143, 129, 141", "interrupted, terminated, hung up, closed pipe"),
)
"""The exit codes, and what they mean."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "docker save app:1.0 | ocitool load",
        "ocitool inspect app:1.0",
        "ocitool save app:1.0 base:1 -o carry.tar",
        "ocitool push ./carry.tar registry.example/app:1.0",
    ),
    "load": (
        "ocitool load images.tar",
        "docker save app:1.0 | ocitool load",
        "ocitool load build/ --tag app:1.0",
    ),
    "save": (
        "ocitool save app:1.0 base:1 -o carry.tar",
        "ocitool save app:1.0 --platform linux/arm64 -o arm.tar.zst",
        "ocitool save app:1.0 --type docker -o - | docker load",
        "ocitool save docker-daemon:app:1.0 -o app.tar",
    ),
    "pull": (
        "ocitool pull ghcr.io/team/app:1.0",
        "ocitool pull alpine:3.20 --platform linux/amd64,linux/arm64",
        "ocitool pull ghcr.io/team/app:1.0 --referrers",
    ),
    "push": (
        "ocitool push app:1.0 ghcr.io/team/app:1.0 --digestfile digest.txt",
        "ocitool push ./image.tar ghcr.io/team/app:1.0 --on-existing same",
        "ocitool push oci:build:1.0 ghcr.io/team/app:1.0 ghcr.io/team/app:latest",
        "ocitool push ./amd64.tar ghcr.io/team/app --by-digest --digestfile amd64",
    ),
    "copy": (
        "ocitool copy docker://ghcr.io/a/app:1 docker://registry.example/app:1",
        "ocitool copy ./carry.tar oci:layout",
        "ocitool copy app:1.0 docker-daemon:app:1.0",
        "ocitool copy app:1.0 ssh://admin@edge.example",
        "CONTAINERD_NAMESPACE=k8s.io ocitool copy ./carry.tar containerd:",
    ),
    "bundle": (
        "ocitool bundle create app:1.0 base:1 -o carry.tar",
        "ocitool bundle load carry.tar --to registry.site/mirror",
    ),
    "bundle create": (
        "ocitool bundle create app:1.0 docker://ghcr.io/team/api:2 -o carry.tar",
        "ocitool bundle create app:1.1 --base carry.tar -o next.delta.tar",
        "ocitool bundle create -f images.txt --volume-size fat32 -o disk.tar",
        "ocitool bundle create app:1.0 --volume-size dvd --parity -o disk.tar",
        "ocitool bundle create app:1.0 --need need.json -o missing.delta.tar",
        "ocitool bundle create app:1.0 -o carry.tar --info-out carry.info.json",
    ),
    "bundle show": ("ocitool bundle show carry.tar",),
    "bundle verify": (
        "ocitool bundle verify carry.tar",
        "ocitool bundle verify /media/usb --need-out need.json",
    ),
    "bundle check": ("ocitool bundle check next.delta.tar --to registry.site/mirror",),
    "bundle load": (
        "ocitool bundle load carry.tar",
        "ocitool bundle load disk.v*.tar --to docker",
        "ocitool bundle load carry.tar next.delta.tar --to registry.site/mirror",
    ),
    "bundle sign": ("ocitool bundle sign carry.tar --sign-key ~/.ssh/id_ed25519",),
    "bundle join": ("ocitool bundle join disk.*.tar -o carry.tar",),
    "bundle split": ("ocitool bundle split carry.tar --volume-size 4g -o disk.tar",),
    "inventory": (
        "ocitool inventory store -o have.json",
        "ocitool inventory registry.site/mirror -o have.json",
        "ocitool inventory registry.site/mirror --repository team/app",
    ),
    "images": (
        "ocitool images",
        "ocitool images --filter label=team=web --digests",
        "ocitool images ./carry.tar --json",
    ),
    "tag": ("ocitool tag app:1.0 app:latest registry.example/app:1.0",),
    "untag": ("ocitool untag app:latest",),
    "rm": ("ocitool rm app:1.0", "ocitool rm 3f2a9c0d -f"),
    "reflog": ("ocitool reflog", "ocitool reflog app:1.0"),
    "restore": ("ocitool restore 'app:1.0@{1}'",),
    "sync": (
        "ocitool sync sync.yaml --dry-run",
        "ocitool sync sync.yaml --plan-out plan.jsonl",
        'ocitool sync --plan plan.jsonl --shard "$JOB_COMPLETION_INDEX/10"',
    ),
    "inspect": (
        "ocitool inspect app:1.0",
        "ocitool inspect docker://alpine:3.20 --platform linux/arm64",
        "ocitool inspect ./carry.tar",
        "ocitool inspect app:1.0 --json",
    ),
    "history": ("ocitool history app:1.0", "ocitool history docker-archive:app.tar"),
    "size": (
        "ocitool size app:1.0",
        "ocitool size ./carry.tar --duplicates --top 50",
        "ocitool size app:1.0 --max-size 500MB --max-waste 5% --exclude-base 3",
        "ocitool size app:1.0 --max-growth 10% --baseline app:0.9",
        "ocitool size docker://ghcr.io/team/app:1.0 --markdown",
    ),
    "export": (
        "ocitool export app:1.0 -o rootfs.tar",
        "ocitool export app:1.0 | tar -x -C rootfs",
        "ocitool export ./carry.tar --layer 3 -o layer.tar",
    ),
    "facts": (
        "ocitool facts app:1.0",
        "ocitool facts ./app.tar --deny secrets --allow 'app/.env=for tests'",
        "ocitool facts app:1.0 --sbom cyclonedx app.cdx.json",
    ),
    "diff": (
        "ocitool diff app:1.0 app:1.1",
        "ocitool diff ./old.tar docker-daemon:app:1.1 --ignore mtime",
        "ocitool diff app:1.0 app:1.1 --only 'etc/**' --content",
        "ocitool diff app:1.0 app:1.1 --markdown > comment.md",
    ),
    "dockerfile": ("ocitool dockerfile app:1.0", "ocitool dockerfile ./app.tar --json"),
    "explore": ("ocitool explore app:1.0", "ocitool explore ./carry.tar"),
    "verify": (
        "ocitool verify",
        "ocitool verify ./carry.tar",
        "ocitool verify --repair-from ./carry.tar",
    ),
    "append": (
        "ocitool append alpine:3.20 ./site -t app:1.0",
        "ocitool append docker://alpine:3.20 app.tar.gz -t docker://ghcr.io/t/app:1",
        "tar -C build -c . | ocitool append app:1.0 - -t app:1.1 --message nightly",
    ),
    "convert": (
        "ocitool convert app:1 --docker --drop -t docker://ghcr.io/t/app:old",
        "ocitool convert app:1.0 --oci --compression zstd -t app:1.0-zstd",
    ),
    "flatten": (
        "ocitool flatten app:1.0 -t app:flat",
        "ocitool flatten ./app.tar --keep-history -t docker://ghcr.io/t/app:flat",
    ),
    "rebase": (
        "ocitool rebase app:1 --old-base base:1 --new-base base:2 -t app:1.0.1",
        "ocitool rebase docker://ghcr.io/t/app:1 --new-base docker://alpine --in-place",
    ),
    "set": (
        "ocitool set app:1.0 --label team=web -t app:1.1",
        "ocitool set docker://ghcr.io/t/app:1 --label commit=$GITHUB_SHA --in-place",
        'ocitool set ./app.tar --cmd "serve -v" --env-rm DEBUG -t ./fixed.tar',
    ),
    "unwrap": ("ocitool unwrap docker://ghcr.io/t/app:1 -t docker://ghcr.io/t/app:lambda",),
    "lock": (
        "ocitool lock ghcr.io/team/app:1.0 alpine:3.20 -o images.lock.yml",
        "helm template web chart/ | ocitool lock -f - -o images.lock.yml",
        "ocitool lock -f compose.yaml --from-store -o images.lock.yml",
    ),
    "rewrite": (
        "ocitool rewrite deploy.yaml --map-file map.json > site.yaml",
        "ocitool rewrite k8s/*.yaml --map-file map.json -i",
    ),
    "login": (
        "ocitool login ghcr.io",
        'echo "$TOKEN" | ocitool login ghcr.io -u me --password-stdin',
    ),
    "logout": ("ocitool logout ghcr.io", "ocitool logout --all"),
    "gc": (
        "ocitool gc --dry-run",
        "ocitool gc -a --filter unused-for=30d --keep-last 3",
        "ocitool gc --explain app:1.0",
        "ocitool gc --undo",
    ),
    "df": ("ocitool df",),
    "pin": ('ocitool pin app:1.0 --until 2030-01-01 --reason "in production"', "ocitool pin"),
    "unpin": ("ocitool unpin app:1.0",),
    "info": ("ocitool info", "ocitool info ghcr.io registry.example:5000 --json"),
    "completion": (
        "source <(ocitool completion bash)",
        "ocitool completion zsh > ~/.zfunc/_ocitool",
        "ocitool completion fish > ~/.config/fish/completions/ocitool.fish",
    ),
    "zipapp": ("ocitool zipapp -o ocitool.pyz", "python3 ocitool.pyz load carry.tar"),
    "version": ("ocitool version --json",),
    "help": ("ocitool help registry tags",),
    "files": ("ocitool files ls app:1.0:/etc", "ocitool files cat app:1.0 /etc/os-release"),
    "files ls": (
        "ocitool files ls -l app:1.0:/usr/bin",
        "ocitool files ls ./carry.tar:/etc --layer 2",
        "ocitool files ls app:1.0:/etc/passwd --why",
    ),
    "files find": (
        "ocitool files find app:1.0 --name '*.so' --size +1M",
        "ocitool files find app:1.0 --suid -l",
        "ocitool files find app:1.0 --hidden --layer 3",
    ),
    "files cat": (
        "ocitool files cat app:1.0 /etc/os-release",
        "ocitool files cat docker://alpine:3.20 /etc/os-release",
        "ocitool files cat app:1.0 /etc/passwd --up-to 1",
    ),
    "files cp": (
        "ocitool files cp app:1.0 /etc/nginx .",
        "ocitool files cp app:1.0 /usr/lib - | tar -t",
    ),
    "attestations": ("ocitool attestations drop docker://ghcr.io/t/app:1 --in-place",),
    "attestations keep": ("ocitool attestations keep app:1.0",),
    "attestations drop": (
        "ocitool attestations drop docker://ghcr.io/t/app:1 --in-place",
        "ocitool attestations drop app:1.0 --unwrap -t app:plain",
    ),
    "attestations to-referrers": (
        "ocitool attestations to-referrers docker://ghcr.io/t/app:1 --in-place",
    ),
    "index": (
        "ocitool index create docker://ghcr.io/team/app:1.0 --digests digests/",
        "ocitool index remove docker://ghcr.io/team/app:1.0 linux/s390x",
    ),
    "index create": (
        "ocitool index create docker://ghcr.io/t/app:1 --from-digestfiles digests/",
        "ocitool index create app:1.0 ./amd64.tar ./arm64.tar",
        "ocitool index create app:1 app:amd app:arm --expect linux/amd64,linux/arm64",
    ),
    "index add": ("ocitool index add docker://ghcr.io/team/app:1.0 ./arm64.tar --replace",),
    "index remove": ("ocitool index remove app:1.0 linux/s390x -t app:1.0-small",),
    "registry": ("ocitool registry tags ghcr.io/team/app",),
    "registry tags": ("ocitool registry tags ghcr.io/team/app --limit 10",),
    "registry catalog": ("ocitool registry catalog registry.example:5000",),
    "registry digest": ("ocitool registry digest alpine:3.20",),
    "registry manifest": ("ocitool registry manifest alpine:3.20",),
    "registry rm": ("ocitool registry rm registry.example/app:old",),
    "registry prune": (
        "ocitool registry prune ghcr.io/a/b --delete-tags 'pr-.*' --older-than 30d",
        "ocitool registry prune ghcr.io/a/b --keep-last 9 --delete-tags '.*'",
        "ocitool registry prune --apply p --archive gone.tar -f",
        "ocitool registry prune ghcr.io/a/b --untagged -f",
    ),
    "registry serve": (
        "ocitool registry serve",
        "ocitool registry serve ./carry.tar --addr 0.0.0.0:5000 --plain-http",
        "ocitool registry serve --writable --htpasswd users",
        "ocitool registry serve --upstream docker.io --upstream ghcr.io/team",
    ),
    "artifact": ("ocitool artifact push registry.example/chart:1 chart.tgz",),
    "artifact push": (
        "ocitool artifact push registry.example/chart:1 a.tgz:application/gzip docs/",
    ),
    "artifact attach": (
        "ocitool artifact attach registry.example/app:1 sbom.json --artifact-type a/b",
    ),
    "artifact pull": ("ocitool artifact pull registry.example/chart:1 -o chart",),
    "artifact ls": ("ocitool artifact ls registry.example/app:1",),
    "container": (
        "ocitool container create --name web --memory 512m app:1.0",
        "ocitool container start -d web",
        "ocitool container run --rm app:1.0 env",
    ),
    "container create": (
        "ocitool container create --name web app:1.0 sh -c 'echo hi'",
        "ocitool container create --name web --memory 512m --cpus 1.5 app:1.0",
        "ocitool container create -v /srv/data:/data:ro -e LEVEL=debug -u app app:1.0",
    ),
    "container run": (
        "ocitool container run --rm -it app:1.0 sh",
        "ocitool container run -d --name web --read-only app:1.0",
    ),
    "container start": ("ocitool container start web", "ocitool container start -d web"),
    "container stop": ("ocitool container stop web", "ocitool container stop -t 60 web db"),
    "container wait": ("ocitool container wait web",),
    "container logs": ("ocitool container logs web", "ocitool container logs -f web"),
    "container commit": (
        "ocitool container commit web app:patched -m 'fixed the configuration'",
        "ocitool container commit web app:2 -c 'CMD [\"app\", \"-v\"]' -c 'ENV LEVEL=debug'",
    ),
    "container cp": (
        "ocitool container cp web:/etc/app.conf .",
        "ocitool container cp ./site/. web:/srv/www",
        "ocitool container cp web:/var/log - | tar -t",
    ),
    "container diff": ("ocitool container diff web",),
    "container export": (
        "ocitool container export web -o web.tar",
        "ocitool container export web | tar -t",
    ),
    "container inspect": (
        "ocitool container inspect web",
        "ocitool container inspect web -s --format '{{.State.Status}} {{.SizeRw}}'",
    ),
    "container ls": ("ocitool container ls",),
    "container rm": ("ocitool container rm web",),
}
"""Lines to copy, by the words of the command; `tests/cli/test_help.py` parses each."""
