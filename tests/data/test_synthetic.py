"""Synthetic languages: entropies against counting, sampling and enumeration."""

import itertools
import math

import numpy as np
import pytest

from configs import base
from gpt_jax import data as sources
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import dyck, repetition

LANGUAGES = ('markov', 'uniform', 'copy', 'dyck', 'induction')
SMALL = dict(num_documents=512, document_len=64, vocab_size=8)


def make(name, *, split='train', seed=0, loss_on=None, **generator):
  fields = {f'data.generator.{k}': v for k, v in {**SMALL, **generator}.items()}
  fields |= {'data.source': name, 'data.split': split, 'data.seed': seed}
  if loss_on:
    fields['data.options.loss_on'] = loss_on
  registries = {'data.source': sources.SOURCES}
  return sources.make_source(load.resolve(base.get_config(), fields, registries).data)


def costs(source):
  """Returns [documents, tokens] nats under the true model."""
  return -np.stack([source.log_probs(source[i]['tokens']) for i in range(len(source))])


@pytest.mark.parametrize('name', LANGUAGES)
def test_the_true_model_attains_the_entropy(name):
  source = make(name, document_len=96, max_period=16)
  per_token = costs(source)
  # Markov's is the rate: of tokens with a full context behind them.
  means = per_token[:, 2 if name == 'markov' else 1 :].mean(axis=1)
  error = means.std(ddof=1) / math.sqrt(len(means))
  assert abs(means.mean() - source.entropy) <= 4 * error + 1e-12
  assert error < 0.02  # or the line above says nothing


def test_fewer_symbols_cost_their_counted_entropy():
  source = make('markov', document_len=512)
  language = source.language
  assert language.entropy_given(2) == pytest.approx(language.entropy)
  tokens = np.stack([source[i]['tokens'] for i in range(512)])
  counts = np.zeros((8, 8))
  np.add.at(counts, (tokens[:, :-1], tokens[:, 1:]), 1)
  pairs, singles = counts / counts.sum(), counts.sum(axis=0) / counts.sum()
  unigram = -(singles * np.log(singles)).sum()
  bigram = -(pairs * np.log(np.maximum(pairs, 1e-300))).sum() - unigram
  assert language.entropy_given(0) == pytest.approx(unigram, abs=0.01)
  assert language.entropy_given(1) == pytest.approx(bigram, abs=0.01)


@pytest.mark.parametrize('name', LANGUAGES)
def test_documents_are_reproducible_and_splits_are_disjoint(name):
  train = make(name)
  again = make(name)
  for i in (300, 0, 511, 255):  # in any order, over the blocks in which they are made
    np.testing.assert_array_equal(train[i]['tokens'], again[i]['tokens'])
  seen = {train[i]['tokens'].tobytes() for i in range(512)}
  assert len(seen) == 512
  for other in (make(name, split='validation'), make(name, split='test')):
    assert len(other) == 32
    assert not seen & {other[i]['tokens'].tobytes() for i in range(32)}
    assert other.entropy == train.entropy
  assert make(name, seed=1)[0]['tokens'].tobytes() not in seen


@pytest.mark.parametrize('name', LANGUAGES)
def test_log_probs_of_all_words_sum_to_one(name):
  small = dict(vocab_size=2, document_len=6, min_period=1, max_period=3, max_depth=2)
  language = make(name, **small).language
  words = [np.array(word) for word in itertools.product(range(2), repeat=6)]
  total = sum(math.exp(language.log_probs(word).sum()) for word in words)
  assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize('name', ('copy', 'dyck', 'induction'))
def test_entropy_equals_the_sum_over_all_words(name):
  for length in (6, 7):
    small = dict(vocab_size=2, document_len=length, min_period=1, max_period=3)
    source = make(name, **small, max_depth=2)
    nats = 0.0
    for word in itertools.product(range(2), repeat=length):
      log_probs = source.log_probs(np.array(word))
      if np.isfinite(log_probs).all():
        nats -= math.exp(log_probs.sum()) * log_probs[1:].sum()
    assert source.entropy == pytest.approx(nats / (length - 1), abs=1e-9)


def test_the_markov_rate_equals_that_of_growing_blocks():
  # H(X_1..X_n) - H(X_1..X_{n-1}) equals the rate for every n above the order.
  language = make('markov', vocab_size=3, order=2, concentration=0.5).language

  def block_entropy(length):
    words = itertools.product(range(3), repeat=length)
    logs = [language.log_probs(np.array(word)).sum() for word in words]
    return -sum(math.exp(log) * log for log in logs if log > -math.inf)

  for n in (3, 4, 5):
    assert block_entropy(n) - block_entropy(n - 1) == pytest.approx(
      language.entropy, abs=1e-9
    )


def test_markov_language_depends_on_its_seed_alone():
  one = make('markov', vocab_size=16, order=2, language_seed=3)
  other = make('markov', vocab_size=16, order=2, language_seed=3, seed=5)
  third = make('markov', vocab_size=16, order=2, language_seed=4)
  np.testing.assert_array_equal(one.language.rows, other.language.rows)
  assert one.entropy == other.entropy != third.entropy
  assert one.fingerprint['language_seed'] == 3
  assert 1.2 < one.entropy < 2.2  # Dirichlet(0.2) rows over 16 symbols: near 1.6


def test_orders_below_one_and_uniform_are_memoryless():
  assert make('uniform', vocab_size=50).entropy == pytest.approx(math.log(50))
  flat = make('markov', order=0, concentration=1e6)
  assert flat.entropy == pytest.approx(math.log(8), abs=1e-4)


def test_copies_repeat_and_inductions_tile():
  for i in range(20):
    tokens = make('copy')[i]['tokens']
    np.testing.assert_array_equal(tokens[:32], tokens[32:])
    tokens = make('induction', min_period=5, max_period=9)[i]['tokens']
    assert any((tokens[p:] == tokens[:-p]).all() for p in range(5, 10))
  assert make('copy').entropy == pytest.approx(31 * math.log(8) / 63)


@pytest.mark.parametrize('name, entropy', [('copy', 0.0), ('induction', None)])
def test_loss_on_repeats_leaves_out_the_first_period(name, entropy):
  plain = make(name, min_period=5, max_period=9)
  source = make(name, min_period=5, max_period=9, loss_on='repeats')
  assert source.entropy == entropy
  assert source.fingerprint == plain.fingerprint | {'loss_on': 'repeats'}
  for i in range(20):
    document = source[i]
    np.testing.assert_array_equal(document['tokens'], plain[i]['tokens'])
    first = int(np.argmax(document['loss_mask']))
    assert document['loss_mask'].tolist() == [0] * first + [1] * (64 - first)
    tokens = document['tokens']
    assert (tokens[first:] == tokens[:-first]).all()
    assert first == 32 if name == 'copy' else 5 <= first <= 9
  assert plain.fields == () and source.fields == ('loss_mask',)


def test_brackets_are_nested_within_the_maximum_depth():
  source = make('dyck', vocab_size=6, max_depth=3)
  deepest = 0
  for i in range(50):
    stack = []
    for token in source[i]['tokens']:
      if token < 3:
        stack.append(token)
      else:
        assert stack.pop() == token - 3
      deepest = max(deepest, len(stack))
  assert deepest == 3
  # Depth 1: open and close in turn; only the kind of each pair is free.
  assert dyck.DyckLanguage(6, 1, 101).entropy == pytest.approx(50 * math.log(3) / 100)


def test_impossible_tokens_have_probability_zero():
  language = repetition.RepeatingLanguage(4, [2], 4, ('vocab_size',))
  assert language.log_probs(np.array([1, 2, 1, 3]))[-1] == -math.inf
  assert dyck.DyckLanguage(4, 2, 8).log_probs(np.array([0, 3]))[-1] == -math.inf


@pytest.mark.parametrize(
  ('name', 'generator', 'message'),
  [
    ('markov', dict(vocab_size=1000, order=3), 'data.generator.order=3.*lower one'),
    ('dyck', dict(vocab_size=5), 'data.generator.vocab_size=5.*even'),
    ('induction', dict(max_period=40), 'data.generator.max_period=40.*half'),
    ('induction', dict(min_period=20, max_period=10), 'at least min_period=20'),
    ('uniform', dict(split='all'), "data.split='all'"),
  ],
)
def test_impossible_generators_are_refused(name, generator, message):
  with pytest.raises(ConfigError, match=message):
    make(name, **generator)
