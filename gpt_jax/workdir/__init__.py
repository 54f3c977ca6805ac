"""The folder of a run: its files, provenance, and the lock of its one writer."""
