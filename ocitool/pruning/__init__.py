"""Which tags and manifests of a repository may go, and removing them without breaking the others.

- `rules` and `patterns` are what a user says, `policy` the file in which it may stand, `choosing`
  applies it to tags: pure functions;
- `graph` is what a repository holds and what keeps what; `reading` reads all of it, or fails, by
  `manifests` and `ages`;
- `planning` makes of both a `decision`, and of that a `plan`, a frozen document of what stays, what
  goes, why, and in which order (`steps`); `explaining` tells it of one tag or digest;
- `applying` deletes what a plan lists, looks at the tags again while it does, and proves in the
  end that everything that was to stay is there: the `outcome`; `freshness` says what that is, and
  whether a plan still holds.
"""
