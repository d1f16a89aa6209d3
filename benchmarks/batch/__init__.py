"""What a batch costs: ``make bench-batch`` measures, and writes its part of docs/performance.md."""
