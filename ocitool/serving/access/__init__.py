"""Who may use a registry: `htpasswd` checks passwords, `guard` asks for them."""
