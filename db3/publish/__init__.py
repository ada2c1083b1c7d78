"""What leaves a run for other people's tools: a data set with its card, a signature, a tracker's entry."""
