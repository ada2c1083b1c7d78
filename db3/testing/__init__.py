"""What only tests and benchmarks need."""
