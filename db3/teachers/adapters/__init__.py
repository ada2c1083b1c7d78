"""Adapters: how each kind of model is asked for decisions."""
