"""How a stage's work is cut, placed and kept."""
