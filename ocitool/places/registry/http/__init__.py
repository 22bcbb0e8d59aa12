"""HTTP to one registry: requests and their steps, connections, and what refusals mean.

The story of a `request`, from the outside: `retrying` sends it again where that may help and leaves
the host alone meanwhile (`backoff`); `redirects` follows where it is sent, by the rules of
`locations`; `auth` (the package beside this one) answers challenges; `wire` sends it once, over
`transport` (httpx on httpcore) and `connections`, by the rules of `tls` and `proxies`. `bodies` are
blobs as the body of a request, `stalls` notices answers that trickle.

A refusal becomes an error in `problems`, a connection that fails in `unreachable`.
"""
