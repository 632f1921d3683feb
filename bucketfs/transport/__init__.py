"""The wire: HTTP exchanges, credentials and signatures; the lowest layer."""
