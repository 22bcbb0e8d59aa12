"""Pull-through: what the store does not have is fetched from other registries, once, and kept.

`origins` says which repositories come from where, `tags` asks what a tag names now, `arriving`
keeps manifests until their image is whole, `flights` fetches blobs that several clients wait for,
`cache` answers requests with all of these.
"""
