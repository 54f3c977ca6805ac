"""Finding the passages of a folder of documents that a question is about.

Read `index.py` first: an index on disk, brought up to date file by file.
`documents.py` reads a folder by the formats of `formats.py` (`html_text.py` is one),
`passages.py` cuts documents, `vector_store.py` keeps the vectors of an encoder.
`search.py` ranks passages: by words (`bm25.py` over the terms of `terms.py`), by
vectors, or by both, fused. A new format is a function in FORMATS.
"""
