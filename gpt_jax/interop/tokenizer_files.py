"""The tokenizer of a folder of others, whichever files it comes in.

`tokenizer.json`, else SentencePiece's `tokenizer.model`, else GPT-2's `vocab.json` and
`merges.txt`, else BERT's `vocab.txt`; `tokenizer_config.json` and
`special_tokens_map.json` say which special token is which.
"""

import pathlib

import tokenizers as library

from gpt_jax.core.errors import CheckpointError, DataError, note_once
from gpt_jax.data import bpe, sentencepieces
from gpt_jax.data.library_tokenizer import LibraryTokenizer
from gpt_jax.data.tokenizer import CHAT
from gpt_jax.data.tokenizers import IdsTokenizer
from gpt_jax.interop import tokenizer_frame
from gpt_jax.interop.safetensors_files import load_json
from gpt_jax.interop.tokenizer_checks import check_pieces, check_rows

JSON, SENTENCEPIECE = 'tokenizer.json', 'tokenizer.model'
GPT2, WORDPIECE = ('vocab.json', 'merges.txt'), 'vocab.txt'
CONFIG, NAMES, ADDED = (
  'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json',
)  # fmt: skip
SPECIAL_NAMES = (
  'bos_token', 'eos_token', 'unk_token', 'pad_token', 'sep_token', 'cls_token',
  'mask_token',
)  # fmt: skip


def open_tokenizer(folder, rows):
  """Returns (tokenizer, {dotted config field: value}) for a model of `rows` embeddings.

  A folder without one gives ids as text. Raises CheckpointError for one with more ids,
  with pieces that decode differently, or in files that are not supported.
  """
  folder = pathlib.Path(folder)
  readers = [
    read
    for names, read in _READERS.items()
    if all((folder / name).is_file() for name in names)
  ]
  if not readers:
    return without_files(folder, rows)
  try:
    tokenizer, fields = readers[0](folder, read_settings(folder))
  except DataError as error:  # one of ours says what is wrong with the file
    raise CheckpointError(str(error)) from error
  check_rows(tokenizer, rows, folder)
  tokenizer.chat_template = read_chat_template(folder)
  return tokenizer, fields


def without_files(place, rows):
  """Returns a tokenizer of ids as text, as `open_tokenizer` does, and says so."""
  note_once(f'{place}: has no tokenizer; text is token ids with spaces between.')
  return IdsTokenizer(rows), {'tokenizer.name': 'ids', 'tokenizer.vocab_size': rows}


def read_settings(folder):
  """Returns the settings of a tokenizer: special tokens by name, and flags."""
  settings = {}
  for file in (NAMES, CONFIG):  # the latter counts where both say something
    if (folder / file).is_file():
      values = load_json(folder / file)
      if not isinstance(values, dict):
        raise CheckpointError(f'{folder / file}: expected a JSON object.')
      settings |= {key: value for key, value in values.items() if value is not None}
  for name in SPECIAL_NAMES:
    if name in settings:
      settings[name] = _content(settings[name], f'{folder}: {name}')
  return settings


def read_chat_template(folder):
  """Returns how its model writes conversations, in Jinja, None where no file says it.

  The file chat_template.jinja, else `chat_template` of tokenizer_config.json; there it
  may be one of several, the one named default.
  """
  if (folder / CHAT).is_file():
    return (folder / CHAT).read_bytes().decode()
  if not (folder / CONFIG).is_file():
    return None
  found = load_json(folder / CONFIG).get('chat_template')
  if isinstance(found, list) and all(isinstance(each, dict) for each in found):
    named = {each.get('name'): each.get('template') for each in found}
    found = named.get('default')
  if not isinstance(found, str | None):
    raise CheckpointError(
      f'{folder / CONFIG}: chat_template={found!r:.80}: expected a text in Jinja.'
    )
  return found


def _content(token, place):
  """Returns the text of a special token, written as such or with its properties."""
  text = token.get('content') if isinstance(token, dict) else token
  if not isinstance(text, str):
    raise CheckpointError(f'{place}={token!r}: expected a token as text.')
  return text


def _of_json(folder, settings):
  try:
    model = library.Tokenizer.from_file(str(folder / JSON))
  except Exception as error:  # the library raises bare Exception
    raise CheckpointError(f'{folder / JSON}: cannot be read: {error}') from error
  return of_model(model, settings, folder)


def _of_gpt2(folder, settings):
  _require_class(folder, settings, 'GPT2Tokenizer')
  model = bpe.from_gpt2_files(folder).library_model
  return of_model(model, settings, folder)


def _of_wordpiece(folder, settings):
  _require_class(folder, settings, 'BertTokenizer', 'DistilBertTokenizer')
  unknown = settings.get('unk_token', '[UNK]')
  try:
    pieces = library.models.WordPiece.from_file(
      str(folder / WORDPIECE), unk_token=unknown
    )
  except Exception as error:  # the library raises bare Exception
    raise CheckpointError(f'{folder / WORDPIECE}: cannot be read: {error}') from error
  model = library.Tokenizer(pieces)
  model.normalizer = library.normalizers.BertNormalizer(
    lowercase=settings.get('do_lower_case', True),
    handle_chinese_chars=settings.get('tokenize_chinese_chars', True),
    strip_accents=settings.get('strip_accents'),
  )
  model.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
  model.decoder = library.decoders.WordPiece()
  usual = dict(
    unk_token='[UNK]', sep_token='[SEP]', pad_token='[PAD]', cls_token='[CLS]',
    mask_token='[MASK]',
  )  # fmt: skip
  settings = usual | settings
  model.add_special_tokens([settings[name] for name in usual])
  tokenizer_frame.set_frame(model, [settings['cls_token']], [settings['sep_token']])
  return of_model(model, settings, folder)


def _of_sentencepiece(folder, settings):
  if (folder / ADDED).is_file() and load_json(folder / ADDED):
    raise CheckpointError(
      f'{folder / ADDED}: tokens beside those of {SENTENCEPIECE} are not supported;'
      f' expected {JSON}, which transformers writes by save_pretrained.'
    )
  tokenizer = sentencepieces.from_file(folder / SENTENCEPIECE)
  begin = settings.get('bos_token', '<s>')
  adds = settings.get('add_bos_token', True) and begin in tokenizer.special_tokens
  fields = {'tokenizer.name': 'sentencepiece'}
  return tokenizer, fields | ({'data.begin_token': begin} if adds else {})


_READERS = {
  (JSON,): _of_json,
  (SENTENCEPIECE,): _of_sentencepiece,
  GPT2: _of_gpt2,
  (WORDPIECE,): _of_wordpiece,
}


def _require_class(folder, settings, *supported):
  """Raises CheckpointError where the files are those of another class."""
  found = settings.get('tokenizer_class', supported[0])
  if found.removesuffix('Fast') not in supported or (folder / ADDED).is_file():
    raise CheckpointError(
      f'{folder}: the files of a {found} are not supported; expected {JSON}, which'
      ' transformers writes by save_pretrained.'
    )


def of_model(model, settings, place):
  """Returns (tokenizer, config fields) of a `tokenizers.Tokenizer`.

  `settings` names special tokens, and may have `add_bos_token`.
  """
  names = {
    name: settings[name]
    for name in SPECIAL_NAMES
    if name in settings and model.token_to_id(settings[name]) is not None
  }
  model.no_padding()  # a file may ask for a fixed length, of padding
  model.no_truncation()
  prefix, suffix = tokenizer_frame.frame_of(model)
  begin = names.get('bos_token')
  if isinstance(settings.get('add_bos_token'), bool) and begin:
    prefix = [token for token in prefix if token != begin]
    prefix = [begin, *prefix] if settings['add_bos_token'] else prefix
    tokenizer_frame.set_frame(model, prefix, suffix)
  end = names.get('eos_token') or names.get('sep_token')
  if suffix and not end:
    end = suffix[-1]
  if len(prefix) > 1 or len(suffix) > 1 or (suffix and suffix[-1] != end):
    raise CheckpointError(
      f'{place}: its tokenizer puts {prefix} before and {suffix} after a text; at most'
      f' one token before, and the end token ({end}) after it, are supported.'
    )
  added = model.get_added_tokens_decoder().values()
  known = {token.content for token in added if token.special}
  model.add_special_tokens([t for t in (*prefix, *names.values()) if t not in known])
  tokenizer = LibraryTokenizer(model, 'json', end or bpe.usual_end(model), names)
  check_pieces(tokenizer, place)
  fields = {'tokenizer.name': 'json'}
  return tokenizer, fields | ({'data.begin_token': prefix[0]} if prefix else {})
