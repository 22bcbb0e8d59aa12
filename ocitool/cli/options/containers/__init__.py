"""The options of new containers, in docker's words: read here, checked by the library."""
