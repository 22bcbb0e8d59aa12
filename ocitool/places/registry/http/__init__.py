"""Requests to one registry: connections, TLS, proxies, redirects, retries, and what errors mean."""
