"""The connection hook."""
