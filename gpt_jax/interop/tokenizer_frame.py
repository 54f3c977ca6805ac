"""The special tokens that stand around a text: told to the library, and found in it."""

import tokenizers as library


def set_frame(model, prefix, suffix):
  """Makes the library put special tokens before and after a text, where it is asked to.

  Nothing of ours asks: it is for those who read the tokenizer.json.
  """
  names = [*prefix, *suffix]
  pair = [f'{name}:1' for name in prefix] if not suffix else []
  if not names:
    model.post_processor = None
    return
  model.post_processor = library.processors.TemplateProcessing(
    single=[*prefix, '$A', *suffix],
    pair=[*prefix, '$A', *suffix, *pair, '$B:1', *(f'{name}:1' for name in suffix)],
    special_tokens=[(name, model.token_to_id(name)) for name in dict.fromkeys(names)],
  )


def frame_of(model):
  """Returns (names before, names after a text), as the library puts them."""
  plain = model.encode('a', add_special_tokens=False)
  framed = model.encode('a')
  count = len(plain.ids)
  for start in range(len(framed.ids) - count + 1):
    if framed.ids[start : start + count] == plain.ids:
      return framed.tokens[:start], framed.tokens[start + count :]
  return [], []
