"""Students: losses, training, the arms of a comparison, export, model card and latency."""
