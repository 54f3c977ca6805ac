"""Packing: every token predicted once, documents separated, nothing lost."""

import dataclasses

import numpy as np
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import packing
from gpt_jax.data.token_cache import TokenStore

LENGTHS = [5, 1, 12, 3, 9, 2, 2, 30, 4, 7]


def store(lengths=LENGTHS):
  """Returns a store whose tokens are all different: 1, 2, 3, ..."""
  total = sum(lengths)
  offsets = np.cumsum([0, *lengths])
  return TokenStore(np.arange(1, total + 1, dtype=np.uint16), offsets)


def config(**fields):
  named = {f'data.{name}': value for name, value in fields.items()}
  return load.resolve(base.get_config(), named).data


def samples(packed):
  return [packed.sample(i) for i in range(len(packed))]


def predicted(found):
  """Returns the targets that follow an input of their own segment."""
  targets = []
  for sample in found:
    tokens = sample['tokens']
    segments = sample.get('segments', np.ones_like(tokens))
    inside = (segments[1:] == segments[:-1]) & (segments[1:] > 0)
    targets += tokens[1:][inside].tolist()
  return targets


PACKED = {
  'concat': dict(packing='concat'),
  'concat apart': dict(packing='concat', mask_documents=True),
  'first_fit': dict(packing='first_fit'),
  'pad': dict(packing='pad'),
  'windows': dict(packing='windows'),
  'concat_begin': dict(packing='concat_begin', begin_token='<bos>'),
}


@pytest.mark.parametrize('seq_len', [1, 2, 4, 7, 74])
@pytest.mark.parametrize('name', sorted(PACKED))
def test_evaluation_predicts_every_token_but_the_first_once(name, seq_len):
  data = config(seq_len=seq_len, **PACKED[name])
  found = samples(packing.pack(store(), data, for_eval=True))
  first = (
    [1]
    if name in ('concat', 'concat_begin', 'windows')
    else (store().offsets[:-1] + 1).tolist()
  )
  everything = set(range(1, 76)) - set(first)
  assert sorted(predicted(found)) == sorted(everything)
  for sample in found:
    assert set(sample) == {'tokens', 'segments', 'positions'}
    assert all(
      v.shape == (seq_len + 1,) and v.dtype == np.int32 for v in sample.values()
    )


@pytest.mark.parametrize('name', sorted(set(PACKED) - {'concat_begin'}))
def test_segments_are_contiguous_and_positions_count_within_them(name):
  for sample in samples(
    packing.pack(store(), config(seq_len=9, **PACKED[name]), for_eval=True)
  ):
    segments, positions = sample['segments'], sample['positions']
    filled = int((segments > 0).sum())
    assert (segments[:filled] > 0).all() and not segments[filled:].any()
    assert not sample['tokens'][filled:].any() and not positions[filled:].any()
    steps = np.diff(segments[:filled])
    assert segments[0] == 1 and set(steps) <= {0, 1}
    same = steps == 0
    assert (np.diff(positions[:filled])[same] == 1).all()
    assert (positions[:filled][np.r_[True, ~same]] == 0).all()
    # Inside a segment the tokens are neighbours in the text.
    assert (np.diff(sample['tokens'][:filled])[same] == 1).all()


def test_masked_documents_never_share_a_segment():
  data = config(seq_len=9, packing='concat', mask_documents=True)
  document_of = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
  for sample in samples(packing.pack(store(), data)):
    owners = document_of[sample['tokens'] - 1]
    same_segment = sample['segments'][1:] == sample['segments'][:-1]
    np.testing.assert_array_equal(same_segment, owners[1:] == owners[:-1])


def test_concatenation_drops_the_incomplete_last_sample():
  found = samples(packing.pack(store(), config(seq_len=9)))
  assert len(found) == 74 // 9 and all(set(sample) == {'tokens'} for sample in found)
  np.testing.assert_array_equal(found[1]['tokens'], np.arange(10, 20))


def test_first_fit_does_not_cut_short_documents_and_fills_bins():
  rng = np.random.default_rng(0)
  lengths = rng.integers(2, 40, size=2000).tolist()
  big = TokenStore(np.ones(sum(lengths), np.uint16), np.cumsum([0, *lengths]))
  data = config(seq_len=63, packing='first_fit')
  found = samples(packing.pack(big, data))
  sizes = [np.bincount(sample['segments'])[1:] for sample in found]
  assert sorted(np.concatenate(sizes).tolist()) == sorted(lengths)
  assert sum(lengths) / (64 * len(found)) > 0.95


def test_one_document_as_large_as_the_corpus_gives_many_samples():
  for name in sorted(PACKED):
    data = config(seq_len=16, **PACKED[name])
    assert len(packing.pack(store([1000]), data)) >= 999 // 16


@pytest.mark.parametrize('name', sorted(packing.PACKINGS))
def test_a_sequence_longer_than_the_data_is_refused(name):
  data = config(seq_len=75, packing=name, begin_token='<bos>')
  with pytest.raises(DataError, match='data.seq_len=75.*75 tokens.*to 74 or less'):
    packing.pack(store(), data)
  assert len(packing.pack(store(), data, for_eval=True)) > 0
  fits = dataclasses.replace(data, seq_len=74)
  assert len(packing.pack(store(), fits)) > 0


def test_documents_of_one_token_cannot_be_packed_alone():
  with pytest.raises(DataError, match='only documents of one token'):
    packing.pack(store([1] * 20), config(seq_len=4, packing='pad'))


def test_windows_begin_at_every_token():
  packed = packing.pack(store(), config(seq_len=4, packing='windows'))
  assert len(packed) == 75 - 4
  for i, sample in enumerate(samples(packed)):
    assert sample['tokens'].tolist() == list(range(i + 1, i + 6))


def test_rows_of_concat_begin_begin_with_the_first_token():
  data = config(seq_len=4, packing='concat_begin', begin_token='<bos>')
  for is_eval in (False, True):
    packed = packing.pack(store(), data, for_eval=is_eval)
    rows = [sample['tokens'].tolist() for sample in samples(packed)]
    assert rows[:3] == [[1, 2, 3, 4, 5], [1, 6, 7, 8, 9], [1, 10, 11, 12, 13]]
    assert rows[-1] == ([1, 74, 75, 0, 0] if is_eval else [1, 70, 71, 72, 73])


def test_rows_that_begin_with_no_token_are_refused():
  data = config(seq_len=4, packing='concat_begin')
  with pytest.raises(ConfigError, match=r'data.begin_token is .*packing=concat\.'):
    packing.pack(store(), data)
