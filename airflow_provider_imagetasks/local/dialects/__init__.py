"""The dialects that the local service speaks: one module per family of services."""
