"""What clients may change: uploads, manifests, tags, in one store or layout.

`claims` keeps what was pushed and is not yet named from being collected as garbage; `uploads` takes
blobs, `manifests` stores manifests and sets tags, `deleting` removes; `writer` chooses among them.
"""
