"""Whether a tokenizer says what its pieces stand for, and belongs to a model."""

from gpt_jax.core.errors import CheckpointError

_MOST_LISTED = 8
_BATCH = 1 << 16  # ids that are decoded at once


def check_rows(tokenizer, rows, place):
  """Raises CheckpointError for more ids than the `rows` of a model's embedding.

  Fewer are right: embeddings are padded, and no text becomes such an id.
  """
  if tokenizer.vocab_size > rows:
    raise CheckpointError(
      f'{place}: its tokenizer has {tokenizer.vocab_size} ids, the embedding {rows}'
      ' rows; they do not belong together.'
    )


def check_pieces(tokenizer, place):
  """Raises CheckpointError with the pieces whose bytes are not what they decode to.

  `tokenizer` is a LibraryTokenizer: its `token_bytes` say what evaluation counts and
  what constrained output builds on, the library's decoder what is written.
  """
  model, pieces = tokenizer.library_model, tokenizer.token_bytes
  ids = [i for i, piece in enumerate(pieces) if piece]
  anchor = _anchor(model, pieces)
  before = model.decode(anchor)
  wrong = []
  for first in range(0, len(ids), _BATCH):
    batch = ids[first : first + _BATCH]
    shown = model.decode_batch([[*anchor, i] for i in batch])
    for i, text in zip(batch, shown, strict=True):
      piece = pieces[i].decode('utf-8', 'replace')
      # A space between words is the decoder's, not the piece's (WordPiece).
      if text not in (before + piece, f'{before} {piece}'):
        wrong.append(f'{i}: {piece!r}, decoded {text.removeprefix(before)!r}')
  if wrong:
    listed = ', '.join(wrong[:_MOST_LISTED])
    more = f' and {len(wrong) - _MOST_LISTED} more' if len(wrong) > _MOST_LISTED else ''
    raise CheckpointError(
      f'{place}: {len(wrong)} pieces of the tokenizer decode to other text than they'
      f' stand for: {listed}{more}. Such a tokenizer is not supported:'
      ' remove its files to have text as ids.'
    )


def _anchor(model, pieces):
  """Returns the ids to decode before a piece, as the first one may lose a space."""
  # By name: among the bytes of a fallback a letter stands for itself as well.
  found = (model.token_to_id(letter) for letter in ('a', 'e', 'x', '1', '.'))
  return [i for i in found if i is not None and pieces[i]][:1]
