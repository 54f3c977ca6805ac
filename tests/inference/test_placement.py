"""A decoder on eight devices equals one on one device, and holds its share only."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.inference import guide, placement
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.request import make_requests
from gpt_jax.inference.settings import Sampling
from gpt_jax.inference.writing import Writing
from gpt_jax.model.gpt import GPT
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import make_sharding_rules
from gpt_jax.program.build import shapes_and_shardings
from tests import small_models as small
from tests import tiny_runs

LEARNED = dict(position='learned', max_seq_len=32)
GROUPED = dict(
  position='rope', num_heads=8, num_kv_heads=2, norm='rmsnorm', tie_embeddings=False,
  activation='swiglu', max_seq_len=32,
)  # fmt: skip
CASES = {
  'data': (LEARNED, dict(data=8), 'replicated'),
  'fsdp': (LEARNED, dict(data=2, fsdp=4), 'fsdp'),
  'tensor': (LEARNED, dict(data=2, tensor=4), 'fsdp_tensor'),
  'both': (LEARNED, dict(fsdp=2, tensor=4), 'fsdp_tensor'),
  'kv heads that do not divide': (GROUPED, dict(tensor=8), 'fsdp_tensor'),
  'kv heads and width': (GROUPED, dict(data=2, fsdp=2, tensor=2), 'fsdp_tensor'),
  'heads that do not divide': (LEARNED, dict(tensor=8), 'fsdp_tensor'),
  'sequence': (GROUPED, dict(sequence=2, fsdp=2, tensor=2), 'sequence'),
}
PROMPTS = [np.array([3, 1, 4, 1, 5, 9, 2]), np.array([6]), np.array([5, 3, 5])]
DRAW = [
  Sampling(),
  Sampling(temperature=1.0, top_k=7, typical_p=0.9, repetition_penalty=1.2),
  Sampling(temperature=1.5, min_p=0.02, frequency_penalty=0.3, logit_bias={3: 1.0}),
]


def config_of(fields, mesh=None, preset='fsdp_tensor'):
  fields = {f'model__{name}': value for name, value in fields.items()}
  mesh = dict(data=1, fsdp=1, sequence=1, tensor=1, expert=1) | (mesh or {})
  return small.resolve(
    model__d_model=32, model__vocab_size=64, parallel__mesh=mesh,
    parallel__preset=preset, **fields,
  )  # fmt: skip


@functools.cache
def one_device(is_grouped):
  """Returns (parameters, texts, logits, score) of the model on one device."""
  config = config_of(GROUPED if is_grouped else LEARNED)
  params = small.random_params(small.make_gpt(config))
  engine = Engine(config.model, params, attend=small.make_gpt(config).attend)
  return params, *outputs(engine)


def outputs(engine):
  requests = make_requests(PROMPTS, max_new_tokens=[20, 40, 33], sampling=DRAW, seed=3)
  texts = [ids.tolist() for ids in engine.generate(requests)]
  logits_BTV = np.asarray(engine.logits(small.random_tokens(3, 9, 64)))
  return texts, logits_BTV, engine.score(PROMPTS[0], PROMPTS[2])


@functools.cache
def on_mesh(case):
  """Returns (rules, Engine) of a case, its parameters placed by the rules."""
  fields, mesh, preset = CASES[case]
  config = config_of(fields, mesh, preset)
  rules = make_sharding_rules(config.parallel, make_mesh(config.parallel.mesh))
  rules = placement.decoding_rules(rules, config.model)
  _, shardings = shapes_and_shardings(GPT(config.model, rules=rules))
  params = jax.device_put(one_device(fields is GROUPED)[0], shardings)
  attend = small.make_gpt(config).attend
  return rules, Engine(config.model, params, attend=attend, rules=rules)


FAST = ('kv heads that do not divide',)


@pytest.mark.parametrize('case', tiny_runs.mostly_slow(CASES, *FAST))
def test_eight_devices_decode_as_one(case):
  _, texts, logits_BTV, score = one_device(CASES[case][0] is GROUPED)
  found_texts, found_BTV, found_score = outputs(on_mesh(case)[1])
  assert found_texts == texts
  # float32 sums of parts, in another order, of logits around 10.
  np.testing.assert_allclose(found_BTV, logits_BTV, atol=3e-5)
  assert found_score == pytest.approx(score, abs=3e-5)


@pytest.mark.parametrize('case, share', [('fsdp', 4), ('tensor', 4), ('both', 8)])
def test_each_device_holds_its_share_of_the_weights(case, share):
  _, engine = on_mesh(case)
  for name, leaf in small.pytree.named_leaves(engine.params):
    held = leaf.addressable_shards[0].data.size
    if name.endswith(('kernel', 'embed/embedding')):
      assert held * share == leaf.size, name


def test_each_device_holds_its_rows_and_heads_of_the_cache():
  rules, engine = on_mesh('kv heads and width')
  requests = make_requests(PROMPTS, max_new_tokens=9)
  state = engine._start(requests, engine_contexts(engine, requests))
  caches = [leaf for leaf in jax.tree.leaves(state.cache['layers'])]
  assert caches and all(leaf.shape[0] == 4 for leaf in caches)  # 3 rows and a filler
  for leaf in caches:
    B, G, S, K = leaf.addressable_shards[0].data.shape
    assert (B, G, S, K) == (2, 1, 16, engine.cfg.head_dim)


def engine_contexts(engine, requests):
  from gpt_jax.inference.context import Contexts

  return Contexts([request.prompt_ids for request in requests], engine.table_len)


@pytest.mark.slow
def test_weights_stay_where_they_are_while_tokens_are_made():
  rules, engine = on_mesh('both')
  requests = make_requests(PROMPTS[:1], max_new_tokens=9)
  state = engine._start(requests, engine_contexts(engine, requests))
  writings = [Writing(request) for request in requests]
  guidance, _ = guide.together(writings, engine.cfg.vocab_size, engine.pad_rows)
  text = engine._decode.lower(engine.params, state, 4, guidance).compile().as_text()
  gathered = re.findall(r'f32\[([\d,]+)\]\S* all-gather', text)
  sizes = [np.prod([int(n) for n in dims.split(',')]) for dims in gathered]
  smallest_weight = min(
    leaf.size
    for name, leaf in small.pytree.named_leaves(engine.params)
    if name.endswith('kernel')
  )
  assert all(size < smallest_weight / 2 for size in sizes), gathered


def test_axes_that_shard_weights_shard_no_rows():
  rules = on_mesh('both')[0]
  assert rules.mesh_axes_of('batch') == ('data',)
  assert rules.mesh_axes_of('act_embed') == ('fsdp',)
  assert rules.mesh_axes['stream_time'] is None
  again = placement.decoding_rules(rules, config_of(LEARNED).model)
  assert again.mesh_axes == rules.mesh_axes


def test_what_does_not_divide_is_replicated():
  rules = on_mesh('kv heads that do not divide')[0]
  assert rules.num_shards('heads') == rules.num_shards('act_heads') == 8
  assert rules.num_shards('kv_heads') == rules.num_shards('act_kv_heads') == 1
  assert placement.shards_weights(rules)
  assert not placement.shards_weights(on_mesh('data')[0])


def test_unstacked_layers_lie_as_their_stack_does():
  fields, mesh, preset = CASES['both']
  config = config_of(fields, mesh, preset)
  rules = make_sharding_rules(config.parallel, make_mesh(config.parallel.mesh))
  _, stacked = shapes_and_shardings(GPT(config.model, rules=rules))
  params = jax.device_put(one_device(False)[0], stacked)
  shardings = placement.unstacked_shardings(params)
  found = dict(small.pytree.named_leaves(shardings))
  for name, leaf in small.pytree.named_leaves(on_mesh('both')[1].params):
    assert leaf.sharding.is_equivalent_to(found[name], leaf.ndim), name
  assert placement.unstacked_shardings({'w': jnp.zeros(3)}) is None


def test_a_line_says_what_each_device_holds():
  rules, engine = on_mesh('both')
  line = placement.describe(rules, engine.params)
  total = sum(leaf.nbytes for leaf in jax.tree.leaves(engine.params)) / 2**20
  assert f'of {total:,.1f} MiB' in line
  assert line.endswith('on each of 8 devices (fsdp=2, tensor=4)')
