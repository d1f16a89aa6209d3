"""The submission ledger: what was intended, what was taken, and so what a retry or a Clear may do. Never pay twice."""
