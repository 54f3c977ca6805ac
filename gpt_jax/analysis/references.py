"""Reference levels that are computed: n-gram tables, and a language's own model."""

import functools

import numpy as np

from gpt_jax.analysis.results import NotEnoughData
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import make_source
from gpt_jax.data.synthetic import SyntheticSource
from gpt_jax.evaluation import baselines
from gpt_jax.program import setup
from gpt_jax.train import score_run

_DOCUMENTS = 512  # whose mean cost is taken


def ngram(order, set_name='validation', row=None):
  """Returns a function of Results: nats a token of an n-gram model; order 0: uniform.

  It learns from the training tokens and is scored on the eval set that the first
  finished point was, of `row` where one is named: modified Kneser-Ney, as `gpt-jax
  eval --baselines` has it.
  """

  def level(results):
    done = list(results.where(row=row))
    if not done:
      raise NotEnoughData('no finished run, whose text an n-gram table could learn.')
    return _nats(done[0].point.workdir, set_name, max(order, 1))[order]

  return level


def true_model(set_name='validation', row=None):
  """Returns a function of Results: nats a token of a synthetic language's own model.

  On the documents of the eval set that the first finished point had, of `row` where one
  is named, and on the tokens that bear loss: the mean that no model can beat but by
  chance.
  """

  def level(results):
    done = list(results.where(row=row))
    if not done:
      raise NotEnoughData('no finished run, whose language would have a model.')
    return _true_nats(done[0].point.workdir, set_name)

  return level


def overpaid(order, set_name='validation', row=None):
  """Returns a function of Results: what the best model that sees `order` symbols pays.

  In nats a token above the entropy of the Markov chain that the first finished point
  read, of `row` where one is named.
  """

  def level(results):
    done = list(results.where(row=row))
    if not done:
      raise NotEnoughData('no finished run, whose language would have an entropy.')
    chain = _language(done[0].point.workdir, set_name).language
    return chain.entropy_given(order) - chain.entropy

  return level


def sampling_error(result, set_name='validation'):
  """Returns the standard error of a true model's nats a token, for a column.

  Over the documents of the eval set that a run had; 0 where all cost the same. By so
  much a model can be below the entropy by chance.
  """
  return _sampling_error(result.point.workdir, set_name)


@functools.cache
def _sampling_error(workdir, set_name):
  means = [
    float(np.average(costs, weights=weights))
    for costs, weights in _true_costs(workdir, set_name)
  ]
  return float(np.std(means) / np.sqrt(len(means)))


@functools.cache
def _true_nats(workdir, set_name):
  costs, weights = map(
    np.concatenate, zip(*_true_costs(workdir, set_name), strict=True)
  )
  return float(np.average(costs, weights=weights))


def _true_costs(workdir, set_name):
  """Yields what the tokens of a document cost the true model, and their weights."""
  source = _language(workdir, set_name)
  for i in range(min(len(source), _DOCUMENTS)):
    document = source[i]
    scored = document.get('loss_mask', np.ones(len(document['tokens'])))
    yield -source.log_probs(document['tokens'])[1:], scored[1:]


def _language(workdir, set_name):
  config = setup.read_config(workdir)
  source = make_source(setup.eval_data(config, set_name))
  if not isinstance(source, SyntheticSource):
    raise ConfigError(
      f'{set_name}: data.source={config.data.source!r} is no language with known'
      ' probabilities; use ngram(order) for text.'
    )
  return source


@functools.cache
def _nats(workdir, set_name, max_order):
  """Returns the nats a token of orders 0 to `max_order` on a run's eval set."""
  config = setup.read_config(workdir)
  tokenizer = setup.open_tokenizer(config, workdir)
  train = setup.open_training_data(config, tokenizer, workdir)
  held_out = setup.open_eval_sets(config, tokenizer, workdir)[set_name]
  limit = score_run.BASELINE_TOKENS
  train_N, eval_N = score_run.baseline_text(train, held_out, config.eval, limit)
  nats_ON = baselines.ngram_nats(
    train_N, eval_N, tokenizer.vocab_size, max_order=max_order
  )
  return tuple(map(float, nats_ON.mean(axis=1)))
