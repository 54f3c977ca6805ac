"""Datasets and their loader: one stream for any hosts, microbatches and restarts."""

import dataclasses
import gc
import itertools
import threading

import numpy as np
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import loader, pipeline

LETTERS = 'abcdefghijklmnopqrstuvwxyz'


def config(**fields):
  named = {f'data.{name}': value for name, value in fields.items()}
  return load.resolve(base.get_config(), {'data.seq_len': 8} | named)


@pytest.fixture
def make(tmp_path):
  """Returns open(**data fields) -> Dataset over a small text of 100 documents."""
  lines = [f'{{"text": "{LETTERS[i % 26] * (3 + i % 17)}"}}\n' for i in range(100)]
  (tmp_path / 'a.jsonl').write_text(''.join(lines))

  def open_it(seed=0, for_eval=False, interleave=False, **fields):
    fields = {'source': 'jsonl', 'path': str(tmp_path), 'split': 'all'} | fields
    resolved = config(**fields)
    tokenizer = pipeline.open_tokenizer(resolved.tokenizer, resolved.data)
    data = dataclasses.replace(resolved.data, seed=None)
    return pipeline.open_dataset(
      data,
      tokenizer,
      seed=seed,
      cache_dir=tmp_path / 'cache',
      for_eval=for_eval,
      interleave=interleave,
    )

  return open_it


def read(dataset, sizes, start=0, hosts=1):
  """Returns the rows of all batches, hosts put side by side."""
  readers = [
    loader.Loader(dataset, host, hosts).batches(start, sizes) for host in range(hosts)
  ]
  rows = [
    np.concatenate([batch['tokens'] for batch in of_step])
    for of_step in zip(*readers, strict=True)
  ]
  return np.concatenate(rows)


@pytest.mark.parametrize('packing', ['concat', 'first_fit', 'pad'])
def test_the_stream_is_the_same_for_all_hosts_and_microbatches(make, packing):
  dataset = make(packing=packing)
  epoch = len(dataset)
  total = (2 * epoch // 8 + 2) * 8  # over two epochs
  stream = np.stack([dataset.sample(n)['tokens'] for n in range(total)])
  for hosts, size in itertools.product((1, 2, 4), (4, 8)):
    np.testing.assert_array_equal(
      read(dataset, [size] * (total // size), 0, hosts), stream
    )
  for start in (3, epoch - 2, epoch + 5):  # restarts, in mid-epoch too
    rest = (total - start) // 4
    found = read(dataset, [4] * rest, start, 2)
    np.testing.assert_array_equal(found, stream[start : start + 4 * rest])
  # A batch-size ramp reads the same stream.
  np.testing.assert_array_equal(read(dataset, [4, 8, 12, 4], 0, 4), stream[:28])


def test_each_epoch_has_every_sample_once_in_its_own_order(make):
  dataset = make()
  epoch = len(dataset)
  first, second = (
    [dataset.sample(n)['tokens'].tobytes() for n in range(e * epoch, (e + 1) * epoch)]
    for e in (0, 1)
  )
  in_order = make(shuffle=False)
  plain = [in_order.sample(n)['tokens'].tobytes() for n in range(epoch)]
  assert sorted(first) == sorted(second) == sorted(plain)
  assert first != second and first != plain
  assert plain == [in_order.sample(n + epoch)['tokens'].tobytes() for n in range(epoch)]


def test_neighbouring_seeds_do_not_share_orders(make):
  def order(seed, epoch):
    dataset = make(seed=seed)
    rows = range(epoch * len(dataset), (epoch + 1) * len(dataset))
    return tuple(dataset.sample(n)['tokens'].tobytes() for n in rows)

  assert len({order(seed, epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)}) == 9
  assert order(1, 0) == order(1, 0)


def test_evaluation_reads_each_token_once_and_pads_its_end(make):
  dataset = make(for_eval=True)
  for hosts in (1, 2, 4):
    per_host = [
      list(loader.evaluation_batches(dataset, 8, h, hosts)) for h in range(hosts)
    ]
    assert {len(batches) for batches in per_host} == {-(-len(dataset) // 8)}
    rows = {
      name: np.concatenate(
        [batch[name] for of_step in zip(*per_host, strict=True) for batch in of_step]
      )
      for name in ('tokens', 'segments')
    }
    assert len(rows['tokens']) % 8 == 0
    targets = rows['tokens'][:, 1:][rows['segments'][:, 1:] > 0]
    np.testing.assert_array_equal(targets, dataset.stores[''].tokens[1:])
  assert len(list(loader.evaluation_batches(dataset, 8, max_batches=2))) == 2


def test_mixtures_follow_their_weights_at_any_start(make, tmp_path):
  for name in 'xy':
    (tmp_path / f'{name}.txt').write_text(name * 2000)
  mixture = {
    name: dict(source='text', path=str(tmp_path / f'{name}.txt'), weight=weight)
    for name, weight in (('x', 3), ('y', 1.0))
  }
  dataset = make(mixture=mixture)
  stream = np.stack([dataset.sample(n)['tokens'] for n in range(400)])
  share = (stream[:, 0] == ord('x')).mean()
  assert share == pytest.approx(0.75, abs=0.01)
  np.testing.assert_array_equal(read(dataset, [8] * 40, 16, 4), stream[16:336])
  assert dataset.num_tokens == 4002 and set(dataset.stores) == {'x', 'y'}
  assert dataset.fingerprint['data.mixture.x.weight'] == 3
  held_out = make(mixture=mixture, for_eval=True)
  found = list(loader.evaluation_batches(held_out, 8))
  assert sum((b['segments'][:, 1:] > 0).sum() for b in found) == 4000


def test_the_first_of_an_interleaved_mixture_are_like_the_whole(make, tmp_path):
  for name, length in (('x', 9000), ('y', 3000)):
    (tmp_path / f'{name}.txt').write_text(name * length)
  mixture = {
    name: {'source': 'text', 'path': str(tmp_path / f'{name}.txt'), 'weight': 1}
    for name in 'xy'
  }
  plain = make(mixture=mixture, for_eval=True)
  mixed = make(mixture=mixture, for_eval=True, interleave=True)
  numbers = [int(n) for n in mixed.order]
  assert sorted(numbers) == [int(n) for n in plain.order]
  members = [mixed.spans(n)[0] for n in range(len(mixed))]
  lengths = [len(packed) for packed in mixed.packings]
  for count in range(1, len(mixed) + 1):
    expected = count * lengths[0] / sum(lengths)
    assert abs(members[:count].count('x') - expected) <= 1


def test_mixtures_of_incompatible_members_are_refused(make, tmp_path):
  part = dict(source='jsonl', path=str(tmp_path), weight=1.0)
  with pytest.raises(
    ConfigError, match='data.mixture: some members keep documents apart'
  ):
    make(mixture={'a': part, 'b': part | {'packing': 'pad'}})
  with pytest.raises(ConfigError, match='data.mixture.b.seq_len=4'):
    make(mixture={'a': part, 'b': part | {'seq_len': 4}})
  with pytest.raises(ConfigError, match='uniform.*mix with no text|is text'):
    numbers = {'source': 'uniform', 'split': 'train', 'weight': 1.0}
    make(mixture={'a': part, 'b': numbers})


def test_the_fingerprint_is_flat_and_names_what_changed(make):
  one, other = make(), make(seq_len=4, append_eos=False, seed=1)
  assert all(isinstance(v, (str, int, float)) for v in one.fingerprint.values())
  assert one.fingerprint == make().fingerprint
  changed = {k for k, v in one.fingerprint.items() if other.fingerprint[k] != v}
  assert changed == {'data.seq_len', 'data.append_eos', 'data.seed'}


def test_a_synthetic_source_has_entropy_and_the_ids_tokenizer(make):
  dataset = make(source='markov', path='', split='train')
  assert 1.2 < dataset.entropy < 2.2 and dataset.sample(0)['tokens'].max() < 16
  assert make().entropy is None


def test_char_knows_the_characters_of_the_held_out_text(tmp_path):
  (tmp_path / 'a.txt').write_text('ab' * 90 + 'cd' * 10)
  resolved = config(source='text', path=str(tmp_path))
  settings = dataclasses.replace(resolved.tokenizer, name='char')
  held_out = [
    dataclasses.replace(resolved.data, split=split) for split in ('validation', 'test')
  ]
  alone = pipeline.open_tokenizer(settings, resolved.data)
  both = pipeline.open_tokenizer(settings, resolved.data, held_out=held_out)
  assert (alone.characters, both.characters) == ('ab', 'abcd')
  with pytest.raises(DataError, match="data.split='validation'.*character 'c'"):
    pipeline.open_dataset(
      held_out[0], alone, seed=0, cache_dir=tmp_path / 'cache', for_eval=True
    )


class Broken:
  """A dataset whose sample 5 cannot be read."""

  prefetch_batches, warn_after_seconds, timeout_seconds = 2, 60.0, 60.0

  def __len__(self):
    return 100

  def sample(self, n):
    if n == 5:
      raise DataError('record 5 is damaged')
    return {'tokens': np.full(4, n)}


def test_errors_of_the_thread_reach_the_consumer():
  batches = loader.Loader(Broken()).batches(0, [2] * 10)
  assert [batch['tokens'][0, 0] for batch in itertools.islice(batches, 2)] == [0, 2]
  with pytest.raises(DataError, match='record 5 is damaged') as caught:
    next(batches)
  assert 'samples 4 to 5' in caught.value.__notes__[0]
  with pytest.raises(StopIteration):
    next(batches)


def test_closing_or_dropping_an_endless_reader_stops_its_thread(make):
  dataset = make()
  before = threading.active_count()
  with loader.Loader(dataset).batches(0, itertools.repeat(4)) as batches:
    next(batches)
    assert threading.active_count() == before + 1
  assert threading.active_count() == before
  assert list(batches) == []
  dropped = loader.Loader(dataset).batches(0, itertools.repeat(4))
  next(dropped)
  thread = dropped._thread
  del dropped
  gc.collect()
  thread.join(timeout=20)
  assert not thread.is_alive()


def test_batches_that_do_not_divide_over_hosts_are_refused(make):
  with pytest.raises(ConfigError, match='train.batch_size=6.*4 processes; try 8'):
    next(loader.Loader(make(), 0, 4).batches(0, [6]))
  with pytest.raises(ConfigError, match='eval.batch_size=2.*4 processes; try 4'):
    loader.evaluation_batches(make(for_eval=True), 2, 0, 4)


@pytest.mark.shared
def test_tiny_shakespeare_has_its_known_size(shared_tfds, tmp_path):
  fields = dict(source='tfds', name='tiny_shakespeare', data_dir=str(shared_tfds))
  resolved = config(**fields)
  settings = dataclasses.replace(resolved.tokenizer, name='char')
  tokenizer = pipeline.open_tokenizer(settings, resolved.data, workdir=tmp_path)
  dataset = pipeline.open_dataset(resolved.data, tokenizer, seed=0, cache_dir=tmp_path)
  assert (tokenizer.vocab_size, dataset.num_tokens) == (65, 1_003_854)
  assert len(dataset) == 1_003_853 // 8
