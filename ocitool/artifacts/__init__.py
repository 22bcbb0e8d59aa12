"""Files and folders as OCI artifacts, as the `oras` tools lay them out.

`sending` pushes and attaches `items`: `folders` become tars, the `oras` package makes the manifest
(`packer`), and our session carries the bytes. `receiving` pulls: `paths` says where a title may
lead, folders are unpacked by `unpacking` into a folder of our own, and `placing` moves what is
whole from there. `attached` lists what is attached to something. See image-spec manifest.md,
"Guidelines for Artifact Usage"; titles and the annotations of folders are `conventions` of `oras`.
"""
