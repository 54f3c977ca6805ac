"""N-gram levels of a study against the tokens that its source gives."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest

from gpt_jax.analysis.references import ngram, overpaid, sampling_error, true_model
from gpt_jax.analysis.result import Result
from gpt_jax.analysis.results import NotEnoughData, Results
from gpt_jax.config import load
from gpt_jax.configs import markov
from gpt_jax.data import make_source
from gpt_jax.evaluation import baselines
from gpt_jax.program import setup
from gpt_jax.workdir.paths import Workdir


@pytest.fixture
def study(tmp_path):
  overrides = {
    'data.generator.num_documents': 64,
    'data.generator.document_len': 64,
    'eval.max_batches': 0,
  }
  config = setup.resolve(markov.get_config(), overrides)
  workdir = Workdir(tmp_path / 'markov')
  workdir.create()
  workdir.write_config(load.to_dict(config))
  point = SimpleNamespace(
    name='markov', row='markov', axes={}, config=config, workdir=workdir.path
  )
  experiment = SimpleNamespace(rows={'markov': {}})
  return SimpleNamespace(points=(point,), duplicates=(), experiment=experiment)


def test_order_0_is_the_log_of_the_vocabulary(study):
  results = Results(study, {'markov': Result(study.points[0])})
  assert ngram(0)(results) == pytest.approx(math.log(16))


def test_orders_are_those_of_the_runs_own_tokens(study):
  results = Results(study, {'markov': Result(study.points[0])})
  train, held_out = (
    _tokens(make_source(dataclasses.replace(study.points[0].config.data, split=split)))
    for split in ('train', 'validation')
  )
  expected = baselines.ngram_nats(train, held_out, 16, max_order=2)[2].mean()
  assert ngram(2)(results) == pytest.approx(expected)


def _tokens(source):
  return np.concatenate([source[i]['tokens'] for i in range(len(source))])


def test_without_a_finished_run_there_is_not_enough_data(study):
  with pytest.raises(NotEnoughData, match='no finished run'):
    ngram(2)(Results(study, {}))


def test_the_true_model_costs_the_entropy_of_the_scored_tokens(study):
  results = Results(study, {'markov': Result(study.points[0])})
  source = make_source(
    dataclasses.replace(study.points[0].config.data, split='validation')
  )
  costs = [-source.log_probs(source[i]['tokens'])[1:].mean() for i in range(16)]
  assert true_model()(results) == pytest.approx(np.mean(costs))
  with pytest.raises(NotEnoughData, match='no finished run'):
    true_model()(Results(study, {}))


def test_a_model_of_fewer_symbols_pays_more(study):
  results = Results(study, {'markov': Result(study.points[0])})
  chain = make_source(study.points[0].config.data).language
  assert overpaid(2)(results) == pytest.approx(0)
  assert overpaid(0)(results) == pytest.approx(chain.entropy_given(0) - chain.entropy)
  assert overpaid(0)(results) > overpaid(1)(results) > 0


def test_the_sampling_error_is_that_of_the_documents_costs(study):
  source = make_source(
    dataclasses.replace(study.points[0].config.data, split='validation')
  )
  means = [
    -source.log_probs(source[i]['tokens'])[1:].mean() for i in range(len(source))
  ]
  found = sampling_error(Result(study.points[0]))
  assert found == pytest.approx(np.std(means) / math.sqrt(len(means)))
