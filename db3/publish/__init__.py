"""What leaves a run for other people's tools: a data set with card and Croissant file, a signature, a tracker's entry."""
