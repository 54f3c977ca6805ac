"""Our tokenizers as files for others: tokenizer.json, or a SentencePiece model."""

import json
import pathlib

import tokenizers as library

from gpt_jax.core.errors import note_once
from gpt_jax.data.library_tokenizer import LibraryTokenizer, byte_alphabet
from gpt_jax.data.sentencepieces import SentencePieceTokenizer
from gpt_jax.data.tokenizer import END
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.interop import tokenizer_files as files
from gpt_jax.interop.tokenizer_frame import frame_of, set_frame


def write_tokenizer(tokenizer, folder, begin_token='', max_length=None):
  """Writes the files of a tokenizer into `folder`; returns their names.

  `begin_token`: what documents begin with; `max_length`: of a text in tokens. Where
  there is no such form of a tokenizer, that is said and nothing is written.
  """
  folder = pathlib.Path(folder)
  settings = {} if max_length is None else {'model_max_length': max_length}
  if tokenizer.chat_template:
    settings['chat_template'] = tokenizer.chat_template
  if isinstance(tokenizer, SentencePieceTokenizer):
    return _write_sentencepiece(tokenizer, folder, begin_token, settings)
  if isinstance(tokenizer, ByteTokenizer):
    tokenizer = LibraryTokenizer(_of_bytes(), 'json', END)
  if not isinstance(tokenizer, LibraryTokenizer):
    note_once(
      f'written without tokenizer files, as the {tokenizer.name} tokenizer has no such'
      ' form.'
    )
    return []
  model = library.Tokenizer.from_str(tokenizer.library_model.to_str())
  prefix, suffix = frame_of(model)
  wanted = [begin_token] if begin_token else []
  if prefix != wanted:
    set_frame(model, wanted, suffix)
  (folder / files.JSON).write_text(model.to_str(pretty=True), encoding='utf-8')
  names = dict(tokenizer.special_names)
  if end := tokenizer.eos_token:
    names.setdefault('eos_token', end)
  if begin_token and begin_token not in names.values():
    names['bos_token'] = begin_token
  settings |= {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'clean_up_tokenization_spaces': False,
    **names,
  }
  _write_json(folder / files.CONFIG, settings)
  _write_json(folder / files.NAMES, names)
  return [files.JSON, files.CONFIG, files.NAMES]


def _write_sentencepiece(tokenizer, folder, begin_token, settings):
  (folder / files.SENTENCEPIECE).write_bytes(tokenizer.model_proto)
  names = {'bos_token': begin_token} if begin_token else {}
  by_id = {i: name for name, i in tokenizer.special_tokens.items()}
  if tokenizer.eos_id in by_id:
    names['eos_token'] = by_id[tokenizer.eos_id]
  settings |= {
    'tokenizer_class': 'LlamaTokenizer',
    'add_bos_token': bool(begin_token),
    'legacy': False,
    **names,
  }
  _write_json(folder / files.CONFIG, settings)
  return [files.SENTENCEPIECE, files.CONFIG]


def _of_bytes():
  """Returns the bytes themselves as byte-level BPE without merges."""
  model = library.Tokenizer(library.models.BPE(dict(byte_alphabet()), []))
  model.pre_tokenizer = library.pre_tokenizers.ByteLevel(
    add_prefix_space=False, use_regex=False
  )
  model.decoder = library.decoders.ByteLevel()
  model.add_special_tokens([END])
  return model


def _write_json(path, content):
  text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True)
  path.write_text(text + '\n', encoding='utf-8')
