"""The gate: which images a student may decide itself, and what is promised of its answers."""
