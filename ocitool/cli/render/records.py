"""What templates can print of an image: the fields of docker's `image inspect` and `history`."""

from typing import TYPE_CHECKING

from ocitool.cli.render.template import Record

if TYPE_CHECKING:
    from ocitool.oci.runtime import Healthcheck, RuntimeConfig
    from ocitool.operations.inspect import ImageReport


def inspect_record(report: "ImageReport") -> Record:
    """Return the fields of one image. Sizes are bytes, and digests are whole."""
    from ocitool.cli.render.texts import familiar
    from ocitool.oci import Reference

    names = [familiar(name) for name in report.names]
    repositories = dict.fromkeys(Reference.parse(x).familiar_repository for x in report.names)
    digest = str(report.digest or "")
    platform = report.platform
    return Record(
        Id=str(report.image_id or digest),
        ID=str(report.image_id or digest),
        Digest=digest,
        RepoTags=names,
        RepoDigests=[f"{repository}@{digest}" for repository in repositories if digest],
        MediaType=report.media_type,
        Created=report.created or "",
        Author=report.config.author,
        Platform=str(platform),
        Architecture=platform.architecture,
        Variant=platform.variant or "",
        Os=platform.os,
        Size=report.size,
        VirtualSize=report.unpacked if report.unpacked is not None else report.size,
        Config=_config(report.config.config),
        RootFS=Record(Type="layers", Layers=[str(x) for x in report.config.diff_ids]),
        Layers=[str(layer.digest) for layer in report.layers],
        Annotations=dict(report.annotations),
        Labels=dict(report.config.config.labels),
    )


def _config(config: "RuntimeConfig") -> Record:
    return Record(
        User=config.user,
        ExposedPorts={port: {} for port in config.exposed_ports},
        Env=list(config.env),
        Entrypoint=list(config.entrypoint),
        Cmd=list(config.cmd),
        Volumes={path: {} for path in config.volumes},
        WorkingDir=config.working_dir,
        Labels=dict(config.labels),
        StopSignal=config.stop_signal,
        StopTimeout=config.stop_timeout,
        Shell=list(config.shell),
        OnBuild=list(config.on_build),
        Healthcheck=_healthcheck(config.healthcheck) if config.healthcheck else None,
    )


def _healthcheck(check: "Healthcheck") -> Record:
    return Record(
        Test=list(check.test),
        Interval=check.interval,
        Timeout=check.timeout,
        StartPeriod=check.start_period,
        StartInterval=check.start_interval,
        Retries=check.retries,
    )
