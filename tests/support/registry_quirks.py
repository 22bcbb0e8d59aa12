"""How real registries differ from the specification, as switches of the emulated one.

All are off by default. The registries in the comments are where each was seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may do what, and how the registry asks for it.

    `challenges` are the values of WWW-Authenticate, one line each, in which {realm}, {service} and
    {scope} are replaced. `challenge_at` "ping" leaves the header out elsewhere (gcr.io). With
    `open_ping`, /v2/ answers 200 to anyone. `anonymous_pull` lets everyone read who shows no
    credential. `realm` is the token server, by default the registry's own /token. `denied_status`
    answers a token that is sound and does not suffice.
    """

    scheme: Literal["none", "basic", "bearer"] = "none"
    users: Mapping[str, str] = field(default_factory=lambda: {"user": "pass"})
    challenges: tuple[str, ...] | None = None
    challenge_at: Literal["always", "ping", "never"] = "always"
    open_ping: bool = False
    anonymous_pull: bool = False
    realm: str | None = None
    service: str = "emulated"
    denied_status: int = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """The switches. Times are in seconds, sizes in bytes; `N times` counts down over all requests.

    A status of None means: as the specification says.
    """

    access: Access = field(default_factory=Access)
    html: bool = False  # a captive portal: 200 text/html everywhere
    warning: str | None = None  # the text of a Warning header on every answer
    clock: float | None = None  # a Date header, so many seconds from the true time
    cookies: bool = False  # Harbor: a cookie that comes back makes 403 of a write
    max_body: int | None = None  # nginx: 413 in HTML above
    too_many: int = 0  # 429 so many times ...
    too_many_pattern: str = "/v2/."  # ... for these targets ...
    retry_after: Literal["seconds", "date", "message", "none"] = "seconds"  # ... said in this way
    retry_seconds: float = 1.0
    hub_quota: int | None = None  # Docker Hub: so many manifest GETs, then 429; HEAD is free

    # Blobs.
    requires_repository: bool = False  # ECR: NAME_UNKNOWN for one that holds nothing yet
    redirect_to: str | None = None  # ACR, Hub: base URL that blob reads are sent to with 307
    redirect_hops: int = 1  # the storage sends on to itself until so many
    ranges: Literal["ok", "ignored", "wrong_start", "long_416"] = "ok"
    encoding: Literal["none", "gzip", "mislabelled"] = "none"  # Content-Encoding of blobs
    bytes_per_second: float | None = None  # for GET of a blob, each connection

    # Uploads.
    location: Literal[
        "absolute", "relative", "odd_query", "plain_http", "no_port", "other_host"
    ] = "absolute"
    single_post: Literal["done", "ignored"] = "done"  # Debian: 202, the body is lost
    mount_status: int | None = None
    monolithic_only: bool = False  # GAR refuses PATCH
    patch_201: bool = False  # ECR: 201, and Range stands still after the first chunk
    upload_status_404: bool = False  # ECR, ACR
    dead_sessions: bool = False  # Debian: a broken body kills its session
    blind_append: bool = False  # Debian: Content-Range is ignored
    content_range_limit: int | None = None  # GHCR: 416 for a larger PATCH with Content-Range
    chunk_min_length: int | None = None  # the header OCI-Chunk-Min-Length
    write_denied: bool = False  # GHCR: 403 permission_denied: write_package
    commit_seconds: float = 0.0  # GHCR takes its time
    commit_forgets: Literal["no", "404", "drop"] = "no"  # the blob is there, the answer denies it
    commit_forgets_times: int = 1

    # Manifests.
    unknown_blob_times: int = 0  # GHCR: BLOB_UNKNOWN for blobs that are there
    immutable_tags: bool = False  # ECR: TAG_INVALID, for the same digest too
    docker_children_refused: bool = False  # Quay: an OCI index of Docker manifests
    digest_header: Literal["right", "none", "wrong"] = "right"  # Docker-Content-Digest
    subject_header: bool = True  # OCI-Subject
    manifest_location: bool = True  # ECR sends none
    plain_head: bool = False  # Artifactory: HEAD is application/octet-stream, no digest
    head_405: bool = False  # no HEAD of manifests
    missing_manifest_status: int = 404  # Artifactory: 403
    subject_refused: bool = False  # ECR: 405 for a manifest that names its subject
    etags: bool = False  # an ETag for a manifest, and 412 where If-Match names another
    digest_of_another: bool = False  # a proxy that rewrites manifests: PUT tells another digest
    schema1: bool = False  # every image is one of schema 1
    delete_405: bool = False  # deletion is switched off
    delete_nothing: bool = False  # 202, and all is as before
    delete_children: bool = False  # an index takes along what it lists
    # Debian: 400 for a tag; GHCR: 405; "image": the image goes with any of its tags
    tag_delete: Literal["ok", "400", "405", "image"] = "ok"

    # Lists.
    page_size: int | None = None  # no page is longer
    link: str | None = '<{link}>; rel="next"'  # also of {host}, {path} and {query}
    tags: Literal["ok", "null", "duplicates", "endless", "foreign"] = "ok"
    foreign_link: str = "http://127.0.0.1:1/"  # where the Link of "foreign" leads
    referrers: Literal["api", "404", "400", "405", "406", "html"] = "api"
    referrers_filter: bool = True
    gitlab_referrers_tag: bool = False  # the tag sha256-HEX is the subject itself
    catalog: bool = True
