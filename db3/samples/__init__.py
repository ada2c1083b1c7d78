"""Samples: the images of the transfer set."""
