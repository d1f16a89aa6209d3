"""Metrics, assets and lineage of image tasks."""
