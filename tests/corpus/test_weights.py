"""Shares of sources are those of their weights."""

import types

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.corpus import weights
from tests.corpus import texts


def test_what_is_kept_is_in_proportion_to_the_weights():
  amounts, wanted = np.array([100.0, 900.0, 0.0]), np.array([3.0, 1.0, 5.0])
  kept = weights.shares_to_keep(wanted, amounts)
  assert kept[0] == 1.0
  assert kept[0] * amounts[0] / (kept[1] * amounts[1]) == pytest.approx(3.0)
  assert weights.shares_to_keep(wanted, np.zeros(3)).tolist() == [1.0] * 3


def test_documents_of_the_larger_source_go():
  step = weights.Weights({'web': 1.0, 'wiki': 1.0})
  documents = [
    texts.document(f'{i:4}', split, member)
    for member, count in (('wiki', 200), ('web', 800))
    for i in range(count)
    for split in ('train', 'test')
  ]
  gone = texts.removed(step, documents, size=97)
  assert {documents[i].member for i in gone} == {'web'}
  assert {documents[i].split for i in gone} == {'train'}
  assert 800 - len(gone) == pytest.approx(200, abs=1)  # two may share a stretch


def test_documents_of_any_size_come_as_close_as_they_can():
  step = weights.Weights({'web': 1.0, 'wiki': 3.0})
  sizes = np.random.default_rng(0).geometric(1e-3, size=60)
  documents = [texts.document('x' * size, member='web') for size in sizes.tolist()]
  documents += [texts.document(f'{i} ' * 1000, member='wiki') for i in range(20)]
  gone = texts.removed(step, documents)
  kept = [each for i, each in enumerate(documents) if i not in gone]
  web, wiki = (
    sum(each.num_bytes for each in kept if each.member == name)
    for name in ('web', 'wiki')
  )
  assert web == pytest.approx(wiki / 3, abs=sizes.max() / 2)


def test_a_corpus_without_a_mixture_is_refused():
  data = types.SimpleNamespace(mixture={})
  context = types.SimpleNamespace(config=types.SimpleNamespace(data=data))
  with pytest.raises(ConfigError, match='data.mixture is empty'):
    weights.make(None, context)
