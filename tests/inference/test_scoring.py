"""Scores of many continuations are those of one by one, whatever they share."""

import jax
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import scoring
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import make_sharding_rules
from gpt_jax.program import build
from tests import small_models as small
from tests import tiny_runs
from tests.inference import test_engine
from tests.inference.test_engine import VARIANTS, make

FAST = ('learned',)
ATOL = 1e-4  # nats; sums of up to 20 terms in float32 that two programs round


def questions(seed=0, count=6, vocab=13):
  """Returns contexts with a common beginning, each with continuations that have one."""
  rng = np.random.default_rng(seed)
  start = rng.integers(0, vocab, 7)
  items = []
  for _ in range(count):
    own = rng.integers(0, vocab, rng.integers(0, 6))
    context = np.concatenate([start[: rng.integers(1, 8)], own])
    answers = [
      np.concatenate([start[:2], rng.integers(0, vocab, n)]) for n in (1, 3, 9)
    ]
    items.append((context, [*answers, answers[0], [5], []]))
  return items


def assert_one_by_one(engine, items):
  found = engine.score_many(items)
  for (context, answers), scores in zip(items, found, strict=True):
    wanted = [engine.score(context, ids) for ids in answers]
    np.testing.assert_allclose([s.log_prob for s in scores], wanted, atol=ATOL)
    assert [s.num_tokens for s in scores] == [len(ids) for ids in answers]
  return found


@pytest.mark.parametrize('variant', tiny_runs.mostly_slow(VARIANTS, *FAST))
def test_many_are_scored_as_one_by_one(variant):
  _, _, engine = make(variant, vocab_limit=13)
  assert_one_by_one(engine, questions())


@pytest.mark.slow
@pytest.mark.parametrize('variant', VARIANTS)
def test_a_prefix_model_reads_contexts_in_both_directions(variant):
  _, _, engine = make(variant, vocab_limit=13, visibility='prefix')
  assert_one_by_one(engine, questions())


@pytest.mark.parametrize(
  'visibility', tiny_runs.mostly_slow(['causal', 'prefix'], 'causal')
)
def test_long_texts_are_scored_alone(visibility, monkeypatch):
  monkeypatch.setattr(scoring, 'LONGEST_TREE', 0)
  _, _, engine = make(vocab_limit=13, visibility=visibility)
  assert_one_by_one(engine, questions(count=2))


def test_the_likeliest_tokens_are_greedy_and_others_are_not():
  _, _, engine = make()
  ids = test_engine.greedy(test_engine.PROMPTS[0], 6)
  other = [*ids[:3], (ids[3] + 1) % 16, *ids[4:]]
  ((best, worse, none),) = engine.score_many(
    [(test_engine.PROMPTS[0], [ids, other, []])]
  )
  assert best.is_greedy and not worse.is_greedy
  assert none == scoring.Score(0.0, 0, True)


@pytest.mark.slow
def test_places_are_predicted_in_chunks(monkeypatch):
  monkeypatch.setattr(scoring, 'LOGITS_BYTES', 4 * 16 * 4)
  config, params, _ = make()
  engine = test_engine.engine_of(config, params)
  assert_one_by_one(engine, questions(vocab=16, count=3))


@pytest.mark.slow
def test_texts_of_all_lengths_need_few_programs():
  _, _, engine = make(seed=3)
  program = engine._scorer._programs[True]
  for seed in range(4):
    engine.score_many(questions(seed, count=40, vocab=16))
  assert program._cache_size() <= 2


def test_progress_counts_each_continuation_once():
  _, _, engine = make(vocab_limit=13)
  counts = []
  engine.score_many(questions(), advance=counts.append)
  assert sum(counts) == 6 * 6


def test_what_the_model_cannot_read_is_named():
  _, _, engine = make()
  with pytest.raises(ConfigError, match='positions end at model.max_seq_len=64'):
    engine.score_many([([1], [[2]]), ([1] * 60, [[2] * 6])])
  with pytest.raises(ConfigError, match='holds the id 99'):
    engine.score_many([([1], [[2], [99]])])
  with pytest.raises(ConfigError, match='no token'):
    engine.score_many([([], [[2]])])
  assert engine.score_many([]) == []


@pytest.mark.slow
def test_eight_devices_score_as_one():
  mesh = {'parallel__mesh__tensor': 2, 'parallel__mesh__fsdp': 4}
  config = small.resolve(model__max_seq_len=64, **mesh)
  model = small.make_gpt(config)
  params = small.random_params(model)
  one = test_engine.engine_of(config, params)
  rules = make_sharding_rules(config.parallel, make_mesh(config.parallel.mesh))
  _, shardings = build.shapes_and_shardings(model.clone(rules=rules))
  many = test_engine.engine_of(config, jax.device_put(params, shardings), rules=rules)
  items = questions(vocab=16)
  wanted = one.score_many(items)
  for scores, expected in zip(many.score_many(items), wanted, strict=True):
    for score, other in zip(scores, expected, strict=True):
      np.testing.assert_allclose(score.log_prob, other.log_prob, atol=ATOL)
