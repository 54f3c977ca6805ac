"""Figures of a study: results over an axis, over training or by row; PNG and SVG.

Read `figures.py` first. An experiment file may draw by itself (`Figure(draw=...)`),
with `palette.py` for colours and `heat_map.py` for tables of numbers; `drawn_text.py`
tells those who do not see it what it shows.
"""
