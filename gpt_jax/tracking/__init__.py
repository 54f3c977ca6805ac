"""Where the metrics of a run go: files, services, the console, the loss curve.

Read `writers.py` first: a new destination is a class and a line in its WRITERS.
"""
