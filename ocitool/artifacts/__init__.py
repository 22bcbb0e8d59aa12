"""Files and folders as OCI artifacts, as the `oras` tools lay them out.

`sending` pushes and attaches `items`: `folders` become tars, the `oras` package makes the manifest
(`packer`), and the registry session uploads the bytes. `receiving` pulls: `paths` checks titles,
`unpacking` unpacks folders into a private folder, and `placing` moves the complete files from
there. `attached` lists the artifacts attached to an image. See image-spec manifest.md, "Guidelines
for Artifact Usage"; titles and the annotations of folders are `conventions` of `oras`.
"""
