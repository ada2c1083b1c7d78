"""Studies: one question each, answered by one table and one picture (docs/studies/index.md)."""
