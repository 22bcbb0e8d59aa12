"""Everything that is known of an image without running it, in one value."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from ocitool.events import SILENT, Observer
from ocitool.inside.facts import system
from ocitool.inside.facts.configured import Configured, configured_secrets
from ocitool.inside.facts.hiding import without_secrets
from ocitool.inside.facts.leaks.paths import Named
from ocitool.inside.facts.leaks.redactor import Redactor
from ocitool.inside.facts.packages.package import Package, PackageType
from ocitool.inside.facts.reading import Contents, read_contents
from ocitool.inside.facts.report import Facts, Secret, Unread
from ocitool.inside.facts.survey import Lookup, survey
from ocitool.inside.image import Inside

_LOCK = "package-lock.json"
Hide = Callable[[str], str]


def gather_facts(inside: Inside, *, observer: Observer = SILENT) -> Facts:
    """Return what an image holds. Only files that their names or heads make interesting are read.

    No part of the result holds a secret: build steps are shown with secrets cut out. Raises what
    `read_members` raises.
    """
    found = survey(inside)
    contents = read_contents(inside, found, observer)
    configured = list(configured_secrets(inside.config, inside.manifest.annotations))
    redactor = Redactor()
    for one in (
        *(one for _, _, one in contents.secrets),
        *(one.found for one in configured),
        *(one.found for _, one in found.named),
    ):
        redactor.add(one)
    steps = {
        layer.number: redactor.hide(layer.instruction) if layer.instruction else None
        for layer in inside.layers
    }
    packages = _once(contents.packages)
    chosen = inside.chosen
    facts = replace(
        _of_the_system(inside, contents, found.libraries, packages),
        names=chosen.root.names,
        zoneinfo=found.zoneinfo,
        loose=tuple(
            replace(one, instruction=steps.get(one.layer))
            for one in sorted(found.loose, key=lambda one: (one.path, one.rule))
        ),
        packages=packages,
        secrets=(
            *_in_files(inside, contents, steps, redactor.hide),
            *_in_paths(inside, found.named, steps),
            *_in_configuration(configured, redactor.hide),
        ),
        unread=(*_missing_layers(inside), *found.unread, *contents.unread),
    )
    return without_secrets(facts, redactor)


def _of_the_system(
    inside: Inside, contents: Contents, libraries: Iterable[str], packages: Sequence[Package]
) -> Facts:
    runtime = inside.config.config
    lookup = Lookup(inside.tree)
    folders = system.program_folders(runtime.env)
    shells = system.programs(system.SHELLS, folders, lookup.program)
    managers = system.programs(system.MANAGERS, folders, lookup.program)
    c_libraries = system.c_libraries(libraries, packages, contents.glibc)
    real = system.without_applets(managers, shells)
    distribution = contents.distribution
    kind, reasons = system.classify(
        shells=tuple(shells),
        managers=real,
        libraries=c_libraries,
        packages=packages,
        system=distribution.name or distribution.id,
    )
    return Facts(
        names=(),
        digest=inside.chosen.image.descriptor.digest,
        platform=inside.chosen.image.platform,
        created=inside.config.created,
        distribution=distribution,
        image_class=kind,
        reasons=reasons,
        user=runtime.user,
        shells=tuple(shells),
        package_managers=real,
        c_libraries=c_libraries,
        ca_bundles=tuple(sorted(contents.bundles, key=lambda bundle: bundle.path)),
    )


def _once(packages: Iterable[Package]) -> tuple[Package, ...]:
    """Return the packages sorted; those of a lock file only where none is installed beside it."""
    unique = set(packages)
    installed = {
        package.path.partition("node_modules/")[0]
        for package in unique
        if package.type is PackageType.NODE and "node_modules/" in package.path
    }
    kept = [
        package
        for package in unique
        if not package.path.endswith(_LOCK) or package.path.removesuffix(_LOCK) not in installed
    ]
    return tuple(sorted(kept, key=_order))


def _order(package: Package) -> tuple[str, ...]:
    return (
        package.type.value,
        package.full_name,
        package.version or "",
        package.architecture or "",
        package.path,
    )


def _in_files(
    inside: Inside, contents: Contents, steps: dict[int, str | None], hide: Hide
) -> Iterator[Secret]:
    """Yield the secrets of files by path, seen ones and hidden ones."""
    records = {record.number: record for record in inside.tree.records}
    found = []
    for layer, row, one in contents.secrets:
        record = records[layer]
        fate = inside.tree.fates[record.fates[row]]
        found.append(
            Secret(
                kind=one.kind,
                place="file",
                begins=one.begins,
                path=record.path(row),
                name=hide(one.name) if one.name else None,
                layer=layer,
                instruction=steps[layer],
                hidden_by=fate.layer or None,
                how=fate.how or None,
                note=one.note,
            )
        )
    yield from sorted(found, key=lambda secret: (secret.path or "", secret.layer or 0))


def _in_paths(
    inside: Inside, named: Iterable[tuple[int, Named]], steps: dict[int, str | None]
) -> Iterator[Secret]:
    """Yield the secrets that paths have in them, each once."""
    records = {record.number: record for record in inside.tree.records}
    seen: set[str] = set()
    for layer, one in named:
        if one.found.value in seen:
            continue
        seen.add(one.found.value)
        record = records[layer]
        fate = inside.tree.fates[record.fates[one.row] if one.row is not None else 0]
        yield Secret(
            kind=one.found.kind,
            place="path",
            begins=one.found.begins,
            path=one.path if one.row is None else record.path(one.row),
            layer=layer,
            instruction=steps[layer],
            hidden_by=fate.layer or None,
            how=fate.how or None,
        )


def _in_configuration(configured: Iterable[Configured], hide: Hide) -> Iterator[Secret]:
    for one in configured:
        yield Secret(
            kind=one.found.kind,
            place=one.place,
            begins=one.found.begins,
            name=hide(one.name),
            layer=one.layer,
            instruction=hide(one.instruction) if one.instruction else None,
            note=one.found.note,
        )


def _missing_layers(inside: Inside) -> Iterator[Unread]:
    for problem in inside.unread:
        reason = f"the layer cannot be read: {problem.text}"
        yield Unread(kind=problem.kind, path="", reason=reason, layer=problem.layer)
