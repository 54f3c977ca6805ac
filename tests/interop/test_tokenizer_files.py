"""Tokenizers of folders: whichever files they come in, and written back."""

import json

import pytest
import tokenizers as library

from gpt_jax.core.errors import CheckpointError
from gpt_jax.data import tokenizers
from gpt_jax.data.library_tokenizer import LibraryTokenizer
from gpt_jax.data.tokenizers import ByteTokenizer, CharTokenizer
from gpt_jax.interop.tokenizer_export import write_tokenizer
from gpt_jax.interop.tokenizer_files import open_tokenizer
from gpt_jax.interop.tokenizer_frame import frame_of, set_frame
from tests.data import tokenizer_zoo
from tests.interop import varied_texts

TEXTS = varied_texts.make(40)


def copy_of(kind):
  return library.Tokenizer.from_str(tokenizer_zoo.make(kind).library_model.to_str())


def put(folder, model=None, **files):
  """Writes a tokenizer.json and JSON files by name into a folder, and returns it."""
  folder.mkdir(exist_ok=True)
  if model is not None:
    model.save(str(folder / 'tokenizer.json'))
  for name, content in files.items():
    (folder / f'{name}.json').write_text(json.dumps(content))
  return folder


def same_ids(one, other):
  return all(
    a.tolist() == b.tolist()
    for a, b in zip(one.encode_batch(TEXTS), other.encode_batch(TEXTS), strict=True)
  )


def test_what_stands_around_a_text_is_that_of_the_post_processor(tmp_path):
  model = copy_of('wordpiece')
  set_frame(model, ['[UNK]'], ['[SEP]'])
  tokenizer, fields = open_tokenizer(put(tmp_path, model), 300)
  assert fields == {'tokenizer.name': 'json', 'data.begin_token': '[UNK]'}
  assert tokenizer.eos_id == model.token_to_id('[SEP]')
  assert same_ids(tokenizer, tokenizer_zoo.make('wordpiece'))


@pytest.mark.parametrize('flag, begin', [(True, '<y>'), (False, None), (None, None)])
def test_a_flag_says_whether_texts_begin_with_a_token(flag, begin, tmp_path):
  config = dict(
    bos_token={'content': '<y>', 'lstrip': False}, pad_token='<x>', eos_token=None,
    add_bos_token=flag,
  )  # fmt: skip
  model = copy_of('added tokens')
  folder = put(tmp_path, model, tokenizer_config=config)
  tokenizer, fields = open_tokenizer(folder, 500)
  assert fields.get('data.begin_token') == begin
  assert tokenizer.special_names == {'bos_token': '<y>', 'pad_token': '<x>'}
  assert tokenizer.special_tokens.keys() >= {'<x>', '<y>'}
  assert tokenizer.eos_id is None


def test_names_of_special_tokens_are_read_from_both_files(tmp_path):
  folder = put(
    tmp_path,
    copy_of('wordpiece'),
    special_tokens_map=dict(sep_token='[SEP]', mask_token='[UNK]', pad_token='none'),
    tokenizer_config=dict(mask_token='[SEP]'),
  )
  tokenizer, _ = open_tokenizer(folder, 300)
  assert tokenizer.special_names == {'sep_token': '[SEP]', 'mask_token': '[SEP]'}
  assert tokenizer.eos_id == 1


def test_files_of_gpt2_give_its_tokenizer(tmp_path):
  state = json.loads(copy_of('bpe').to_str())['model']
  merges = ''.join(f'{a} {b}\n' for a, b in state['merges'])
  (tmp_path / 'merges.txt').write_text('#version: 0.2\n' + merges)
  tokenizer, _ = open_tokenizer(put(tmp_path, vocab=state['vocab']), 500)
  assert same_ids(tokenizer, tokenizer_zoo.make('bpe'))
  assert tokenizer.eos_id == state['vocab']['<|endoftext|>']
  put(tmp_path, tokenizer_config=dict(tokenizer_class='Qwen2Tokenizer'))
  with pytest.raises(CheckpointError, match='files of a Qwen2Tokenizer are not'):
    open_tokenizer(tmp_path, 500)


def test_a_list_of_words_gives_the_tokenizer_of_bert(tmp_path):
  pieces = '[PAD] [UNK] [CLS] [SEP] [MASK] the fox ##es , e'.split()
  (tmp_path / 'vocab.txt').write_text('\n'.join(pieces) + '\n')
  tokenizer, fields = open_tokenizer(tmp_path, 10)
  names = [
    tokenizer.library_model.id_to_token(i) for i in tokenizer.encode('The FOXES, é')
  ]
  assert names == ['the', 'fox', '##es', ',', 'e']
  assert fields['data.begin_token'] == '[CLS]' and tokenizer.eos_id == 3
  assert tokenizer.special_tokens['[MASK]'] == 4


@pytest.mark.slow
def test_a_sentencepiece_model_is_read_as_it_is(tmp_path):
  original = tokenizer_zoo.make('sentencepiece')
  names = write_tokenizer(original, tmp_path, '<s>')
  assert names == ['tokenizer.model', 'tokenizer_config.json']
  tokenizer, fields = open_tokenizer(tmp_path, original.vocab_size)
  assert tokenizer.fingerprint == original.fingerprint
  assert fields == {'tokenizer.name': 'sentencepiece', 'data.begin_token': '<s>'}
  put(tmp_path, added_tokens={'<new>': 32000})
  with pytest.raises(CheckpointError, match='added_tokens.json: tokens beside those'):
    open_tokenizer(tmp_path, 1 << 20)


@pytest.mark.parametrize('kind', ['bpe', 'llama', 'wordpiece', 'unigram', 'gpt4'])
def test_a_tokenizer_comes_back_from_its_files(kind, tmp_path):
  model = copy_of(kind)
  special = next(iter(LibraryTokenizer(model, 'json').special_tokens), None)
  tokenizer = LibraryTokenizer(
    model, 'json', special, {'pad_token': special} if special else {}
  )
  names = write_tokenizer(tokenizer, tmp_path, special or '', 128)
  assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
  again, fields = open_tokenizer(tmp_path, tokenizer.vocab_size)
  assert fields.get('data.begin_token', '') == (special or '')
  assert (again.eos_id, again.special_tokens) == (
    tokenizer.eos_id, tokenizer.special_tokens,
  )  # fmt: skip
  assert same_ids(again, tokenizer)
  config = json.loads((tmp_path / 'tokenizer_config.json').read_text())
  assert config['model_max_length'] == 128
  # The original is left as it was.
  assert frame_of(model) == ([], [])


def test_names_of_special_tokens_are_kept_in_a_run(tmp_path):
  names = {'pad_token': '[UNK]', 'mask_token': '[SEP]'}
  tokenizer = LibraryTokenizer(copy_of('wordpiece'), 'json', '[SEP]', names)
  tokenizer.save(tmp_path)
  again = tokenizers.load(tmp_path)
  assert again.special_names == names and again.fingerprint == tokenizer.fingerprint
  assert 'special_names' not in LibraryTokenizer(copy_of('bpe'), 'json')._definition()


OWN, OTHER = "{{ 'a' }}\n{% if true %}\r\n{% endif %}", '{{ 1 }}'


@pytest.mark.parametrize(
  'in_config, in_file, expected',
  [
    (OWN, None, OWN),
    (OTHER, OWN, OWN),
    (None, OWN, OWN),
    (None, None, None),
    ([dict(name='x', template=OTHER), dict(name='default', template=OWN)], None, OWN),
    ([dict(name='x', template=OTHER)], None, None),
  ],
)
def test_the_format_of_chats_is_kept(in_config, in_file, expected, tmp_path):
  config = {} if in_config is None else {'chat_template': in_config}
  folder = put(tmp_path / 'theirs', copy_of('bpe'), tokenizer_config=config)
  if in_file:
    (folder / 'chat_template.jinja').write_bytes(in_file.encode())
  tokenizer, _ = open_tokenizer(folder, 500)
  assert tokenizer.chat_template == expected
  tokenizer.save(tmp_path / 'run')
  kept = tokenizers.load(tmp_path / 'run')
  assert kept.chat_template == expected
  tokenizer.chat_template = None  # it decides no id
  assert tokenizer.fingerprint == kept.fingerprint
  (tmp_path / 'again').mkdir()
  write_tokenizer(kept, tmp_path / 'again')
  assert open_tokenizer(tmp_path / 'again', 500)[0].chat_template == expected


def test_bytes_have_files_and_characters_have_none(tmp_path, capsys):
  assert write_tokenizer(ByteTokenizer(), tmp_path)
  tokenizer, _ = open_tokenizer(tmp_path, 257)
  assert same_ids(tokenizer, ByteTokenizer()) and tokenizer.eos_id == 256
  assert tokenizer.decode(tokenizer.encode('é\n')) == 'é\n'
  (tmp_path / 'chars').mkdir()
  assert write_tokenizer(CharTokenizer('ab'), tmp_path / 'chars') == []
  assert 'char tokenizer has no such form' in capsys.readouterr().err


@pytest.mark.parametrize(
  'files, message',
  [
    (dict(tokenizer=[]), 'tokenizer.json: cannot be read'),
    (dict(tokenizer_config=[]), 'tokenizer_config.json: expected a JSON object'),
    (dict(tokenizer_config=dict(eos_token=7)), 'eos_token=7: expected a token as text'),
    (dict(special_tokens_map=dict(pad_token={})), 'pad_token={}: expected a token'),
    (dict(tokenizer_config=dict(chat_template=7)), 'chat_template=7: expected a text'),
    (dict(tokenizer_config=dict(chat_template=[7])), 'expected a text in Jinja'),
  ],
)  # fmt: skip
def test_files_that_cannot_be_read_are_named(files, message, tmp_path):
  with pytest.raises(CheckpointError, match=message):
    open_tokenizer(put(tmp_path, copy_of('wordpiece'), **files), 300)


def test_several_tokens_before_a_text_are_refused(tmp_path):
  model = copy_of('wordpiece')
  set_frame(model, ['[UNK]', '[SEP]'], [])
  with pytest.raises(CheckpointError, match='at most one token before'):
    open_tokenizer(put(tmp_path, model), 300)


def test_a_folder_without_a_tokenizer_gives_ids_as_text(tmp_path, capsys):
  tokenizer, fields = open_tokenizer(tmp_path, 12)
  assert tokenizer.encode('3 11').tolist() == [3, 11]
  assert fields == {'tokenizer.name': 'ids', 'tokenizer.vocab_size': 12}
  assert 'has no tokenizer' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['bpe', 'llama', 'wordpiece'])
def test_transformers_reads_the_files_alike(kind, tmp_path):
  transformers = pytest.importorskip(
    'transformers', reason="needs pip install 'gpt_jax[oracle]'"
  )
  tokenizer = tokenizer_zoo.make(kind)
  begin = next(iter(tokenizer.special_tokens))
  write_tokenizer(tokenizer, tmp_path, begin)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  for text, ids in zip(TEXTS, tokenizer.encode_batch(TEXTS), strict=True):
    if any(name in text for name in tokenizer.special_tokens):
      continue  # text to us
    assert theirs.encode(text)[1:] == ids.tolist()
    assert theirs.encode(text)[0] == tokenizer.special_tokens[begin]
