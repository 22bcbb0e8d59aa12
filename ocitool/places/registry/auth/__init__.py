"""Authentication to registries: challenges, tokens, and which token servers are trusted."""
