"""SentencePiece models (.model files), by the `sentencepiece` package."""

import os
import pathlib
from typing import Any

import numpy as np

from gpt_jax.core.errors import DataError, require_extra
from gpt_jax.data import encodings
from gpt_jax.data.tokenizer import Tokenizer, bytes_between


class SentencePieceTokenizer(Tokenizer):
  """A SentencePiece model as our `Tokenizer`.

  `byte_lengths` counts the bytes of each piece's surface form, the space marker as one.
  Against the text this is off by the space that most models prepend, and by what their
  normalization (NFKC, merged spaces) changed; `encode_with_bytes` is not.
  """

  name, model_file = 'sentencepiece', 'sentencepiece.model'

  def __init__(self, model_proto):
    try:
      import sentencepiece
    except ImportError as error:
      needs = require_extra('sentencepiece', 'sentencepiece')
      raise DataError(f'tokenizer.name="sentencepiece" {needs}') from error
    self.model_proto = model_proto
    try:
      self._model = sentencepiece.SentencePieceProcessor(model_proto=model_proto)
    except RuntimeError as error:
      raise DataError(
        f'tokenizer.path: not a SentencePiece model ({error}).'
      ) from error
    self.vocab_size = self._model.vocab_size()
    self.eos_id = self._model.eos_id() if self._model.eos_id() >= 0 else None
    control = filter(self._model.is_control, range(self.vocab_size))
    self.special_tokens = {self._model.id_to_piece(i): i for i in control}
    self.token_bytes = [self._piece_bytes(i) for i in range(self.vocab_size)]

  def _piece_bytes(self, i):
    model = self._model
    if model.is_control(i) or model.is_unknown(i) or model.is_unused(i):
      return b''
    piece = model.id_to_piece(i)
    if model.is_byte(i):  # written <0xNN>
      return bytes([int(piece[3:5], 16)])
    return piece.replace('\u2581', ' ').encode()

  def encode(self, text):
    return self.encode_batch([text])[0]

  def encode_batch(self, texts):
    contents = [encodings.encode(text, 'the text') for text in texts]
    encoded = self._model.encode(contents, num_threads=os.cpu_count() or 1)
    return [np.array(ids, np.int32) for ids in encoded]

  def encode_with_bytes(self, texts):
    texts = list(texts)
    for text in texts:
      encodings.encode(text, 'the text')
    return [
      (np.array(ids, np.int32), bytes_between(text, ends))
      for text, (ids, ends) in zip(texts, self._with_ends(texts), strict=True)
    ]

  def _with_ends(self, texts):
    """Returns [(ids, ends in characters)]; versions of the package differ in how."""
    threads = os.cpu_count() or 1
    if hasattr(self._model, 'EncodeAsOffsetMapping'):
      found = self._model.EncodeAsOffsetMapping(texts, num_threads=threads)
      return [(one['ids'], [end for _, end in one['offsets']]) for one in found]
    kind: Any = 'immutable_proto'  # of versions before 0.2.3, whose types lack it
    found = self._model.encode(texts, out_type=kind, num_threads=threads)
    return [([p.id for p in one.pieces], [p.end for p in one.pieces]) for one in found]

  def decode(self, ids):
    return self._model.decode([int(i) for i in ids])

  def _model_bytes(self):
    return self.model_proto


def from_file(path):
  """Returns the tokenizer of a .model file. Raises DataError when it is missing."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise DataError(
      f'tokenizer.path={str(path)!r}: no such file (a SentencePiece .model).'
    )
  return SentencePieceTokenizer(path.read_bytes())


def load(folder):
  """Returns the tokenizer that was saved in `folder`."""
  return from_file(folder / SentencePieceTokenizer.model_file)
