"""Opinion monitoring: a stream of texts to trends by topic, and alerts.

Texts come from a file, standard input or HTTP (`events.py`, `sources.py`, `journal.py`,
`inbox.py`), fine-tuned runs give topic and sentiment (`heads.py`), `monitor.py` counts
them by time and topic, and `control_chart.py` says when the negative share has left its
limits. `folder.py` keeps all that on disk, so that a killed monitor counts nothing
twice, and `hooks.py` tells others of alerts. Read `monitor.py` first.
"""
