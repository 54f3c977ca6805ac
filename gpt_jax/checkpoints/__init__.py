"""Saved steps: atomic, asynchronous, verified before they are used."""
