"""From a model's parameters to text.

Read `decode.py` first: the pure functions of a prompt and of the tokens after it.
`engine.py` compiles and batches them, `sampling.py` chooses the next token, `text.py`
puts a tokenizer around the engine.

What is built on the model works on slots, the rows of one batch (`decode`, `rows`):

    cache = empty_cache(cfg, slots, length, dtype)         # of model.cache
    cache, logits = extend(params, cache, tokens_RT, slot_R, start_R, count_R)
    state, written, is_over = decode(params, state, limit, guidance)

`extend` reads the next tokens of some rows from any position on, which is how prompts
are read in chunks, drafts are checked and beams are scored; `decode` writes tokens on
the device. A row that is done, or that an index beyond the batch stands for, is left as
it is. `rows.take` and `rows.put` move whole rows (beams, preempted texts),
`rows.save_block` and `rows.load_block` move the tokens of a block between rows and a
store (shared prefixes), `rows.resize` changes how many tokens a row may hold. All
are to be compiled with their cache donated: it is updated in place.
"""
