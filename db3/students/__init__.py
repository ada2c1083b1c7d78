"""Students: losses, training, the variants of a comparison, export, model card and latency."""
