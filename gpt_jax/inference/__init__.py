"""From a model's parameters to text.

Read `decode.py` first: the pure functions of a prompt and of the tokens after it.
`engine.py` compiles and batches them, `sampling.py` chooses the next token, `text.py`
puts a tokenizer around the engine.
"""
