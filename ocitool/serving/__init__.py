"""A registry server over stores, layouts and archives (distribution-spec 1.1).

`application` turns one request into one answer and knows no sockets; `transport` is the server
that carries both. `view` says which repositories there are, `names` which path means which of them.
"""
