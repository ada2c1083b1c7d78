"""Surrogates: networks trained on decisions, whose gradients guide a search."""
