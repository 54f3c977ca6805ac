"""Training examples with other words: easy data augmentation, and back-translation.

`augment.py` is the one to read first: rates, registry, and what is applied to an
example of an epoch. `word_edits.py` edits texts, `tag_edits.py` words with tags,
`synonym_table.py` reads a user's synonyms; `back_translation.py` asks two models. A new
edit is a function in `word_edits.py`, a line in EDITS and a rate in
`config.schema.AugmentationConfig`.
"""
