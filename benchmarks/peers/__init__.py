"""Other libraries on the same rows and the same provider, each in an environment of its own."""
