"""Documents with fields: loss masks and labels from a source through every packing."""

import collections
import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from gpt_jax import data as sources
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import documents, fields, loader, pipeline, token_cache
from gpt_jax.data.source import Source
from gpt_jax.data.tokenizers import ByteTokenizer, IdsTokenizer
from gpt_jax.objectives import causal_lm

END = ByteTokenizer.eos_id
PACKINGS = {
  'concat': dict(packing='concat'),
  'concat apart': dict(packing='concat', mask_documents=True),
  'first_fit': dict(packing='first_fit'),
  'pad': dict(packing='pad'),
  'windows': dict(packing='windows'),
}


class Documents(Source):
  """A source of given documents."""

  def __init__(self, *documents, fields=('loss_mask', 'labels')):
    self._documents, self.fields = documents, fields
    self.fingerprint = {'source': 'given', 'split': 'train'}

  def __len__(self):
    return len(self._documents)

  def __getitem__(self, i):
    return self._documents[i]


def open_tokens(source, folder, tokenizer=None, append_eos=True, begin_token=''):
  return token_cache.open_tokens(
    source, tokenizer or ByteTokenizer(), append_eos=append_eos, cache_dir=folder,
    begin_token=begin_token,
  )  # fmt: skip


def values(store, name):
  return store.fields[name].read(0, store.num_tokens).tolist()


DIALOGUES = [
  {'prompt': f'{i}: {"why " * (i % 5)}', 'response': f'{"because " * (i % 4)}{i}'}
  for i in range(40)
]


def make_dialogues(data):
  """Returns a plug-in source of prompts and responses."""
  return Documents(*DIALOGUES, fields=('loss_mask',))


def config(**fields):
  named = {f'data.{name}': value for name, value in fields.items()}
  given = {'data.source': f'{__name__}:make_dialogues', 'data.seq_len': 64}
  return load.resolve(base.get_config(), given | named).data


def open_dataset(folder, *, for_eval=False, **fields):
  return pipeline.open_dataset(
    config(**fields), ByteTokenizer(), seed=0, cache_dir=folder, for_eval=for_eval
  )


def targets_with_loss(rows):
  """Returns the target ids of stacked rows that bear loss, row after row."""
  weights_BT = np.asarray(causal_lm.next_token_weights(rows))
  return rows['tokens'][:, 1:][weights_BT == 1].tolist()


def replies(ids):
  """Returns the texts before each end token, sorted."""
  texts, text = [], []
  for token in ids:
    if token == END:
      texts.append(bytes(text).decode())
      text = []
    else:
      text.append(token)
  assert not text, 'the last reply has no end token'
  return sorted(texts)


RESPONSES = sorted(document['response'] for document in DIALOGUES)


@pytest.mark.parametrize('name', sorted(PACKINGS))
def test_evaluation_scores_exactly_the_responses_once(name, tmp_path):
  dataset = open_dataset(tmp_path, for_eval=True, **PACKINGS[name])
  batches = list(loader.evaluation_batches(dataset, 8))
  rows = {key: np.concatenate([b[key] for b in batches]) for key in batches[0]}
  assert rows['loss_mask'].dtype == np.int32
  assert not rows['loss_mask'][rows['segments'] == 0].any()
  assert replies(targets_with_loss(rows)) == RESPONSES


@pytest.mark.parametrize('name', sorted(PACKINGS))
def test_training_rows_bear_loss_on_responses_only(name, tmp_path):
  dataset = open_dataset(tmp_path, shuffle=False, seq_len=40, **PACKINGS[name])
  (store,), (packed,) = dataset.stores.values(), dataset.packings
  mask = np.asarray(store.fields['loss_mask'].values)
  for i in range(len(packed)):
    sample, spans = packed.sample(i), packed.spans(i)
    covered = np.concatenate([mask[start:stop] for start, stop in spans])
    padded = np.pad(covered, (0, 41 - len(covered)))
    np.testing.assert_array_equal(sample['loss_mask'], padded)
  if name in ('first_fit', 'pad'):
    rows = [packed.sample(i) for i in range(len(packed))]
    rows = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    expected = collections.Counter(store.tokens[mask == 1].tolist())
    assert collections.Counter(targets_with_loss(rows)) == expected


def test_labels_lie_on_the_last_token_of_each_document(tmp_path):
  source = Documents(
    {'text': 'abc', 'label': 2}, {'text': ''}, {'text': 'de'}, {'text': 'f', 'label': 0}
  )
  store = open_tokens(source, tmp_path)
  assert store.tokens.tolist() == [97, 98, 99, END, 100, 101, END, 102, END]
  assert values(store, 'labels') == [-1, -1, -1, 2, -1, -1, -1, -1, 0]
  assert values(store, 'loss_mask') == [1] * 9
  bare = open_tokens(source, tmp_path, append_eos=False)
  assert values(bare, 'labels') == [-1, -1, 2, -1, -1, 0]


def test_a_begin_token_comes_before_each_document(tmp_path):
  begin = '<|endoftext|>'  # of the byte tokenizer the only special token
  source = Documents(
    {'text': 'ab', 'label': 2}, {'text': ''}, {'prompt': 'c', 'response': 'd'}
  )
  store = open_tokens(source, tmp_path, begin_token=begin)
  assert store.tokens.tolist() == [END, 97, 98, END, END, 99, 100, END]
  assert store.offsets.tolist() == [0, 4, 8]
  assert values(store, 'labels') == [-1, -1, -1, 2, -1, -1, -1, -1]
  assert values(store, 'loss_mask') == [0, 1, 1, 1, 0, 0, 1, 1]
  plain = open_tokens(source, tmp_path)
  assert plain.tokens.tolist() == [97, 98, END, 99, 100, END]
  with pytest.raises(DataError, match=r"special token '\[CLS\]'"):
    open_tokens(source, tmp_path, begin_token='[CLS]')


def test_a_template_encodes_special_tokens_by_name_only(tmp_path):
  end = documents.Special('<|endoftext|>')
  typed = 'hi <|endoftext|>'
  source = Documents({'parts': [(end, False), (typed, False), (end, False), ('yo', 1)]})
  store = open_tokens(source, tmp_path)
  assert store.tokens.tolist() == [END, *typed.encode(), END, *b'yo', END]
  assert values(store, 'loss_mask') == [0] * (len(typed) + 2) + [1, 1, 1]
  unknown = Documents({'parts': [(documents.Special('<|user|>'), False)]})
  with pytest.raises(DataError, match=r"document 0: special token '<\|user\|>'.*byte"):
    open_tokens(unknown, tmp_path / 'unknown')


def test_fields_given_beside_ids_are_kept_as_they_are(tmp_path):
  source = Documents(
    {'tokens': np.array([1, 2, 3]), 'loss_mask': [0, 1, 0], 'hardness': [7, 8, 9]},
    {'tokens': np.array([4]), 'hardness': [5]},
    fields=('hardness', 'loss_mask'),
  )
  store = open_tokens(source, tmp_path, IdsTokenizer(8))
  assert values(store, 'hardness') == [7, 8, 9, 5]
  assert values(store, 'loss_mask') == [0, 1, 0, 1]
  for document, message in (
    ({'tokens': np.array([1, 2]), 'hardness': [1]}, "'hardness' has 1 values"),
    ({'tokens': np.array([1])}, "no field 'hardness'"),
    ({'text': 'a', 'label': 1, 'hardness': [1]}, "has 'label'.*lack 'labels'"),
    ({'prompt': 'a'}, 'expected one of text, tokens'),
    ({'text': 'a'}, "no field 'hardness'"),
  ):
    bad = Documents(document, fields=('hardness',))
    with pytest.raises(DataError, match=f'document 0.*{message}'):
      open_tokens(bad, tmp_path / 'bad', IdsTokenizer(8))


@pytest.mark.parametrize('label, known', [(2, '0 to 1'), (-1, '0 to 1')])
def test_a_label_outside_the_classes_is_refused(label, known, tmp_path):
  source = Documents({'text': 'a', 'label': label})
  source.num_labels = 2
  with pytest.raises(DataError, match=f'document 0: label={label}; expected {known}'):
    open_tokens(source, tmp_path)


def test_a_prompt_without_a_declared_mask_is_refused(tmp_path):
  source = Documents({'prompt': 'a', 'response': 'b'}, fields=('labels',))
  with pytest.raises(DataError, match="'prompt'.*lack 'loss_mask'"):
    open_tokens(source, tmp_path)
  with pytest.raises(ConfigError, match="'segments' cannot be the name of a field"):
    open_tokens(Documents({'text': 'a'}, fields=('segments',)), tmp_path)


@pytest.mark.parametrize('file', ['loss_mask.bin', 'loss_mask.checks.bin'])
@pytest.mark.parametrize('how', ['changed', 'gone'])
def test_a_damaged_file_of_a_field_is_noticed(file, how, tmp_path):
  source = Documents({'prompt': 'ab', 'response': 'c'}, fields=('loss_mask',))
  store = open_tokens(source, tmp_path)
  assert values(store, 'loss_mask') == [0, 0, 1, 1]
  (path,) = tmp_path.glob(f'*/{file}')
  content = bytearray(path.read_bytes())
  content[0] ^= 1
  path.write_bytes(content) if how == 'changed' else path.unlink()
  with pytest.raises(DataError, match=f'{file}.*delete .*builds it again'):
    values(open_tokens(source, tmp_path), 'loss_mask')


def test_a_mixture_fills_in_the_fields_that_a_member_lacks(tmp_path):
  (tmp_path / 'a.txt').write_text('plain text ' * 200)
  mixture = {
    'chat': dict(weight=1),
    'text': dict(weight=1, source='text', path=str(tmp_path / 'a.txt'), split='all'),
  }
  dataset = open_dataset(tmp_path, mixture=mixture)
  assert dataset.fields == ('loss_mask',)
  plain = dataset.stores['text']
  assert values(plain, 'loss_mask') == [1] * plain.num_tokens
  assert 0 < np.mean(values(dataset.stores['chat'], 'loss_mask')) < 1
  for n in range(8):
    assert set(dataset.sample(n)) == {'tokens', 'loss_mask'}
  store = token_cache.TokenStore(np.arange(3), np.array([0, 3]))
  assert values(store.with_fields(['labels']), 'labels') == [-1, -1, -1]
  assert store.with_fields(['hardness']) is None


def test_the_fields_of_a_source_are_in_its_fingerprint(tmp_path):
  dataset = open_dataset(tmp_path)
  assert dataset.fingerprint['data.fields'] == 'loss_mask'
  with_labels = dataclasses.replace(config(), source=f'{__name__}:make_without')
  plain = pipeline.open_dataset(
    with_labels, ByteTokenizer(), seed=0, cache_dir=tmp_path
  )
  assert 'data.fields' not in plain.fingerprint and plain.fields == ()
  assert len(list(tmp_path.glob('tokens-*'))) == 2


def make_without(data):
  return Documents(*({'text': d['prompt']} for d in DIALOGUES), fields=())


class WithoutFields:
  """A packing that leaves fields out."""

  def __len__(self):
    return 1

  def sample(self, i):
    return {'tokens': np.zeros(65, np.int32)}


def make_without_fields(store, data, for_eval):
  return WithoutFields()


def test_a_packing_that_loses_fields_is_refused(tmp_path):
  with pytest.raises(ConfigError, match='its samples lack the fields loss_mask'):
    open_dataset(tmp_path, packing=f'{__name__}:make_without_fields')


def test_rows_that_fill_the_last_batch_have_no_labels(tmp_path):
  data = config(source=f'{__name__}:make_classes', packing='pad', seq_len=16)
  dataset = pipeline.open_dataset(
    data, ByteTokenizer(), seed=0, cache_dir=tmp_path, for_eval=True
  )
  (batch,) = loader.evaluation_batches(dataset, 8)
  labels = [row[row >= 0].tolist() for row in batch['labels']]
  assert labels == [[0], [1], [2], [0], [1], [], [], []]
  assert (batch['labels'][5:] == -1).all() and not batch['segments'][5:].any()
  assert dataset.num_labels == 3


def make_classes(data):
  source = Documents(
    *({'text': 'a' * (i + 2), 'label': i % 3} for i in range(5)), fields=('labels',)
  )
  source.num_labels = 3
  return source


def test_every_field_has_padding_that_means_nothing():
  assert fields.padding('loss_mask') == 0 and fields.padding('labels') == -1
  assert fields.padding('tokens') == fields.padding('segments') == 0
  assert pipeline.declared_fields(config(source='jsonl', prompt_field='q')) == (
    'loss_mask',
  )
  assert set(fields.FIELDS) == {'loss_mask', 'labels', 'bytes'}
  assert fields.padding('bytes') == 0
  assert sources.SOURCES['jsonl'].fields(config(label_field='c')) == ('labels',)


def test_weights_are_those_of_the_predicted_token():
  mask = jnp.array([[0, 0, 1, 1, 0]])
  tokens = jnp.zeros((1, 5), jnp.int32)
  weights = causal_lm.next_token_weights(dict(tokens=tokens, loss_mask=mask))
  np.testing.assert_array_equal(weights, [[0, 1, 1, 0]])


def test_half_a_character_to_learn_from_names_its_document():
  source = Documents({'text': 'fine'}, {'text': 'x\ud83d'}, fields=())
  assert list(documents.texts(source, 0)) == ['fine']
  with pytest.raises(DataError, match=r'document 1 has half a character .*ud83d'):
    list(documents.texts(source, 1))
