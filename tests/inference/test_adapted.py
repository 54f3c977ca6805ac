"""Models with an adapter that cannot be merged write what whole forward passes say."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import peft
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import adapted
from gpt_jax.inference.capacity import Capacity
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.request import Request
from gpt_jax.inference.scheduler import Scheduler
from gpt_jax.inference.slots import Slots
from gpt_jax.inference.speculative_engine import SpeculativeEngine
from tests import small_models as small
from tests import tiny_runs
from tests.peft import virtual_models as virtual

CHUNK, NEW = 4, 6
CASES = {
  'prefix': ('prefix', {}),
  'p_tuning_v2, unrolled': ('p_tuning_v2', dict(model__scan_layers=False)),
  'p_tuning_v2, windows': (
    'p_tuning_v2',
    dict(model__position='rope', model__layer_pattern=('local:5', 'global')),
  ),
  'prompt, windows': (
    'prompt',
    dict(model__position='rope', model__layer_pattern=('local:5', 'global')),
  ),
  'prompt': ('prompt', dict(model__num_kv_heads=2)),
}  # fmt: skip
FAST = ('prefix', 'prompt, windows')


@functools.cache
def make(case):
  """Returns (model as in training, its parameters)."""
  name, fields = CASES[case]
  model, _, params = virtual.make(name, **{'model__max_seq_len': 64} | fields)
  return model, params


@functools.cache
def requests():
  rng = np.random.default_rng(0)
  shared = rng.integers(0, 16, 2 * CHUNK)
  prompts = [rng.integers(0, 16, n) for n in (1, 7, 13)]
  prompts += [np.concatenate([shared, rng.integers(0, 16, n)]) for n in (2, 5, 3)]
  return [Request(prompt_ids=ids, max_new_tokens=NEW) for ids in prompts]


@functools.cache
def expected(case):
  model, params = make(case)
  return [virtual.greedy(model, params, r.prompt_ids, NEW) for r in requests()]


def engine_of(case, kind=Engine, **settings):
  model, params = make(case)
  return kind(model.cfg, params, attend=model.attend, adapter=model.adapter, **settings)


@pytest.mark.parametrize('case', tiny_runs.mostly_slow(CASES, *FAST))
def test_a_text_is_that_of_whole_forward_passes(case):
  engine = engine_of(case)
  alone = [engine.generate([request])[0].tolist() for request in requests()[:2]]
  assert alone == expected(case)[:2]
  together = engine.generate(requests())
  assert [ids.tolist() for ids in together] == expected(case)


@pytest.mark.parametrize('case', tiny_runs.mostly_slow(CASES, *FAST))
def test_slots_and_shared_prefixes_change_no_text(case):
  engine = engine_of(case)
  slots = Slots(engine, Capacity(3, 32, CHUNK, 4))
  scheduler = Scheduler(slots, queue_limit=None, tokens_per_step=3)
  for _ in range(2):
    handles = [scheduler.submit(request) for request in requests()]
    scheduler.run()
    assert [handle.result().ids.tolist() for handle in handles] == expected(case)
  assert scheduler.counts['reused'] > 2 * CHUNK


def test_drafts_of_earlier_text_change_no_text():
  engine = engine_of('prefix', SpeculativeEngine, num_drafts=3)
  found = engine.generate(requests())
  assert [ids.tolist() for ids in found] == expected('prefix')


@pytest.mark.parametrize('case', tiny_runs.mostly_slow(CASES, *FAST))
def test_scores_are_those_of_whole_forward_passes(case):
  engine, (model, params) = engine_of(case), make(case)
  context, answers = [3, 1, 4, 1], [[5, 9], [2, 6, 5], [3]]
  found = engine.score_many([(context, answers), (context[:2], answers[:1])])
  for row, scores in zip((context, context[:2]), found, strict=True):
    for answer, score in zip(answers, scores, strict=False):
      ids = np.array([[*row, *answer]])
      logits_TV = small.logits_of(model)(params, ids)[0]
      log_probs_TV = logits_TV - jnp.log(jnp.exp(logits_TV).sum(-1, keepdims=True))
      places = np.arange(len(row) - 1, ids.shape[1] - 1)
      wanted = float(log_probs_TV[places, answer].sum())
      assert score.log_prob == pytest.approx(wanted, abs=1e-4)
      assert engine.score(row, answer) == pytest.approx(wanted, abs=1e-4)


def test_learned_positions_end_sooner():
  model, params = make('prefix')
  engine = engine_of('prefix')
  assert engine.table_len == 64 - virtual.P
  ids = small.random_tokens(1, 64 - virtual.P)
  virtual.is_close(engine.logits(ids), small.logits_of(model)(params, ids))
  said = f'62 tokens to read.*=64, .*{virtual.P} virtual.*{64 - virtual.P} are left'
  with pytest.raises(ConfigError, match=said):
    engine.logits(small.random_tokens(1, 65 - virtual.P))


def test_other_parameters_take_the_place_of_the_first():
  engine, (model, params) = engine_of('prompt'), make('prompt')
  other = peft.with_leaves(params, {'embed/prompt': -params['embed']['prompt']})
  engine.set_params(other)
  ids = small.random_tokens(1, 8)
  virtual.is_close(engine.logits(ids), small.logits_of(model)(other, ids))


@pytest.mark.parametrize(
  ('field', 'value'), [('depth', 1), ('exit_measure', 'margin'), ('draft', 'exit:1')]
)
def test_what_needs_first_layers_alone_is_refused(field, value):
  config = virtual.config_of('prefix', **{f'inference__{field}': value})
  with pytest.raises(ConfigError, match=f"inference.{field}=.*peft.name='prefix'"):
    adapted.make_model_parts(config)
