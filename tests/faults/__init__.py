"""Fault injection: signals to real command lines, damaged files, full disks.

`__main__.py` runs the lanes of `lanes.py`; `runs.py` has what they share. The tests
here, and some beside the modules, run small parts of them.
"""
