"""Rows that go out in files, as a provider's own batches: cut, created once, waited for, delivered out of streams."""
