"""Maps in context: labels follow from the pairs before them, or are chance."""

import itertools
import math

import numpy as np
import pytest

from gpt_jax import data as sources
from gpt_jax.core.errors import ConfigError
from tests import tiny_runs


def make(pairs=4, **options):
  overrides = {f'data.options.{key}': value for key, value in options.items()}
  overrides |= {'data.source': 'symbol_map', 'data.generator.document_len': 2 * pairs}
  return sources.make_source(tiny_runs.tiny_config(overrides).data)


def test_a_symbol_keeps_its_label_within_a_document():
  source = make(pairs=12, num_symbols=5, num_labels=3)
  labels_of = []
  for i in range(100):
    pairs = source[i]['tokens'].reshape(-1, 2)
    assert (pairs[:, 0] < 5).all() and (pairs[:, 1] >= 5).all()
    assert len(set(map(tuple, pairs))) == len(set(pairs[:, 0]))
    labels_of.append(dict(pairs.tolist()))
  assert len({found.get(0) for found in labels_of if 0 in found}) == 3  # redrawn


@pytest.mark.parametrize('shots', [None, 0, 2])
def test_entropy_equals_that_of_all_documents_of_labels(shots):
  fields = dict(num_symbols=2, num_labels=2, shots=shots)
  source = make(pairs=3, **fields)
  nats, mask = 0.0, source[0]['loss_mask']
  for words in itertools.product(range(4), repeat=6):
    log_probs = source.log_probs(np.array(words))
    is_document = all(token < 2 for token in words[::2]) and min(words[1::2]) >= 2
    if is_document and np.isfinite(log_probs).all():
      nats -= math.exp(log_probs.sum()) * (log_probs * mask).sum()
  assert source.entropy == pytest.approx(nats / mask.sum(), abs=1e-12)


def test_labels_alone_bear_loss():
  assert make()[0]['loss_mask'].tolist() == [0, 1] * 4
  assert make(shots=1)[0]['loss_mask'].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
  assert make(shots=0).entropy == pytest.approx(math.log(4))
  assert make(shots=0).fingerprint != make().fingerprint


def test_lengths_without_the_pairs_are_refused():
  with pytest.raises(ConfigError, match='shots=4: expected less than the 4 pairs'):
    make(shots=4)
  overrides = {'data.source': 'symbol_map', 'data.generator.document_len': 7}
  with pytest.raises(ConfigError, match='even number'):
    sources.make_source(tiny_runs.tiny_config(overrides).data)
