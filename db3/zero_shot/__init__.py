"""Samples without data: rounds of made images, and pseudo samples as in the paper (ZSDB3)."""
