"""Baselines are proper distributions that do not train on the evaluation text."""

import bz2
import math
import random

import numpy as np
import pytest

from gpt_jax.evaluation import baselines

ORDERS = 5


@pytest.fixture(scope='module')
def tiny_tokens():
  """Returns (train, vocab_size): a skewed text over five symbols, one unseen."""
  rng = np.random.default_rng(0)
  train_N = rng.choice(4, size=300, p=[0.5, 0.3, 0.15, 0.05])
  return train_N, 5


@pytest.fixture(scope='module')
def markov():
  """Returns (train, eval, vocab_size, entropy in nats) of an order-2 chain."""
  rng = np.random.default_rng(1)
  rows_VVV = rng.dirichlet(np.full(6, 0.3), size=(6, 6))
  cumulative_VVV = rows_VVV.cumsum(-1)
  tokens, nats = [0, 1], []
  for draw in rng.random(60_000):
    pair = (tokens[-2], tokens[-1])
    token = min(int(np.searchsorted(cumulative_VVV[pair], draw)), 5)
    nats.append(-math.log(rows_VVV[pair][token]))
    tokens.append(token)
  # The mean of -log p of the evaluation text itself, so that no sampling error is left.
  return (
    np.array(tokens[:50_000]),
    np.array(tokens[50_000:]),
    6,
    np.mean(nats[-10_002:]),
  )


@pytest.mark.parametrize(
  'context', [[0, 0, 0, 0], [1, 2, 0, 1], [3, 3, 3, 3], [4, 4, 4, 4]]
)
def test_probabilities_of_all_next_tokens_sum_to_one(tiny_tokens, context):
  train_N, vocab_size = tiny_tokens
  nats_VO = np.stack(
    [
      baselines.ngram_nats(train_N, [*context, token], vocab_size, max_order=ORDERS)[
        :, -1
      ]
      for token in range(vocab_size)
    ]
  )
  np.testing.assert_allclose(np.exp(-nats_VO).sum(0), 1.0, rtol=1e-12)


def test_ngram_probabilities_follow_the_published_formula():
  # abababc: ab 3 times, ba 2, bc 1, so that n1 = n2 = n3 = 1 and n4 = 0.
  train_N = np.array([0, 1, 0, 1, 0, 1, 2])
  nats_ON = baselines.ngram_nats(train_N, [1, 2], 4, max_order=2)
  # share = n1 / (n1 + 2 n2) = 1/3; D1 = 1 - 2/3 = 1/3; D2 = 2 - 3/3 = 1; D3 = 3/2.
  # Unigram contexts: a after b; b after a; c after b: three times 1; D1 = 1/2.
  lower = (1 - 0.5) / 3 + (1.5 / 3) * 0.25
  p_c_after_b = (1 - 1 / 3) / 3 + ((1 / 3 + 1) / 3) * lower
  np.testing.assert_allclose(np.exp(-nats_ON[2, 1]), p_c_after_b, rtol=1e-12)


def test_evaluation_text_does_not_change_the_counts(tiny_tokens):
  train_N, vocab_size = tiny_tokens
  eval_N = np.array([0, 1, 4, 4, 4, 0, 0, 1, 2, 3])
  whole_ON = baselines.ngram_nats(train_N, eval_N, vocab_size, max_order=ORDERS)
  half_ON = baselines.ngram_nats(train_N, eval_N[:6], vocab_size, max_order=ORDERS)
  np.testing.assert_allclose(whole_ON[:, :6], half_ON, rtol=1e-12)


def test_no_token_costs_infinity_even_after_regular_text():
  train_N = np.tile([0, 1], 50)
  nats_ON = baselines.ngram_nats(train_N, [0, 1, 1, 2, 2, 0], 3, max_order=ORDERS)
  assert np.isfinite(nats_ON).all()


def test_the_uniform_baseline_is_the_log_of_the_vocabulary(tiny_tokens):
  train_N, vocab_size = tiny_tokens
  row = baselines.ngram_baselines(train_N, train_N, vocab_size, bytes_in_eval=600)[0]
  assert row.name == 'uniform'
  assert row.nats_per_token == pytest.approx(math.log(5))
  # 300 tokens in 600 bytes: half the bits of a token for each byte.
  assert row.bits_per_byte == pytest.approx(math.log2(5) / 2)


def test_ngrams_approach_the_entropy_of_a_markov_chain(markov):
  train_N, eval_N, vocab_size, entropy = markov
  rows = baselines.ngram_baselines(
    train_N, eval_N, vocab_size, bytes_in_eval=eval_N.size, max_order=5
  )
  excess = {row.name: row.nats_per_token - entropy for row in rows}
  # 36 rows of 6 from 50k tokens: 180 free numbers cost about 180 / (2 * 50k) = 0.002.
  assert 0.0 < excess['3-gram'] < 0.01
  assert excess['2-gram'] > 0.1
  assert min(rows, key=lambda row: row.bits_per_byte).name == '3-gram'
  # Longer contexts tell nothing new here, and the discounts keep their harm small.
  assert excess['5-gram'] < 0.05


def test_ngram_costs_do_not_depend_on_the_maximum_order(tiny_tokens):
  train_N, vocab_size = tiny_tokens
  low_ON = baselines.ngram_nats(train_N, train_N[:50], vocab_size, max_order=2)
  high_ON = baselines.ngram_nats(train_N, train_N[:50], vocab_size, max_order=4)
  np.testing.assert_allclose(low_ON, high_ON[:3], rtol=1e-12)


def test_compressors_exploit_the_training_text():
  words = [bytes(random.Random(i).choices(b'abcdefghij', k=7)) for i in range(40)]
  text = b' '.join(random.Random(1).choices(words, k=4000))
  alone = 8 * len(bz2.compress(text[-4000:])) / 4000
  rows = baselines.compressor_baselines(
    text[:-4000], text[-4000:], num_eval_tokens=4000
  )
  assert [row.name for row in rows] == ['bz2', 'xz']
  for row in rows:
    # A word of seven letters and a space is one of 40: log2(40) / 8 bits a byte.
    assert math.log2(40) / 8 * 0.95 < row.bits_per_byte < alone
    assert row.nats_per_token == pytest.approx(row.bits_per_byte * math.log(2))


def test_bz2_uses_the_nearest_text_that_fits_into_its_block():
  eval_bytes = random.Random(0).randbytes(20_000)
  far = eval_bytes + bytes(1_000_000)
  near = bytes(1_000_000) + eval_bytes
  costs = [
    baselines.compressor_baselines(text, eval_bytes, num_eval_tokens=1)[0].bits_per_byte
    for text in (far, near)
  ]
  assert costs[0] > 8.0 > 4.0 > costs[1]


@pytest.mark.parametrize(
  'train, evaluation, message',
  [
    ([0, 1, 9], [0, 1, 1], 'train_tokens holds ids from 0 to 9'),
    ([0, 1, 1], [-1, 1, 1], 'eval_tokens holds ids from -1'),
    ([0, 1, 1], [], 'eval_tokens has shape'),
  ],
)
def test_unusable_tokens_are_refused(train, evaluation, message):
  with pytest.raises(ValueError, match=message):
    baselines.ngram_nats(train, evaluation, 4, max_order=2)


@pytest.mark.shared
def test_shakespeare_ngrams_match_and_beat_published_counts(
  shared_data,
):
  text = (shared_data / 'tiny_shakespeare' / 'input.txt').read_bytes()
  symbols, ids = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
  cut = int(0.9 * len(ids))
  rows = baselines.ngram_baselines(
    ids[:cut], ids[cut:], len(symbols), bytes_in_eval=len(ids) - cut, max_order=5
  )
  nats = {row.name: row.nats_per_token for row in rows}
  # Independent counts of this split: 4.174, 3.347, and by absolute discounting 1.690.
  assert nats['uniform'] == pytest.approx(4.174, abs=1e-3)
  assert nats['1-gram'] == pytest.approx(3.347, abs=1e-3)
  assert 1.5 < nats['5-gram'] < 1.690
