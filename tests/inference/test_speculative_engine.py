"""Texts from drafts: greedy ones are those of plain decoding, others as distributed."""

import functools

import jax
import numpy as np
import pytest
import scipy.stats

from gpt_jax.attention import bind, dense
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.request import make_requests
from gpt_jax.inference.settings import Sampling
from gpt_jax.inference.speculative_engine import SpeculativeEngine
from gpt_jax.inference.writing import Writing
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import make_sharding_rules
from gpt_jax.program.build import shapes_and_shardings
from tests import small_models as small

MODELS = {
  'rope, grouped': dict(position='rope', num_kv_heads=2, norm='rmsnorm'),
  'local layers': dict(layer_pattern=('local:3', 'global'), position='rope'),
  'learned, post-norm': dict(norm_position='post', max_seq_len=64),
}
DRAFTS = ['ngram', 'exit', 'model']
PROMPTS = [[1, 2, 3, 1, 2], [7], [4, 4, 9, 4, 4, 9, 4]]


@functools.cache
def parts(name, num_layers=4, seed=0):
  """Returns (config, parameters) of a model of small weights, which repeats itself."""
  fields = dict(num_layers=num_layers) | MODELS[name]
  config = small.resolve(**{f'model__{k}': v for k, v in fields.items()})
  return config, small.random_params(small.make_gpt(config), seed)


def engine_of(name, make=Engine, visibility='causal', num_layers=4, seed=0, **more):
  config, params = parts(name, num_layers, seed)
  attend = bind(dense.attend, config.model, config.attention)
  return make(config.model, params, attend=attend, visibility=visibility, **more)


def speculative(name, draft, visibility='causal', num_drafts=3):
  more = {}
  if draft == 'exit':
    more['draft_layers'] = 2
  if draft == 'model':
    more['draft'] = engine_of(name, visibility=visibility, num_layers=2, seed=5)
  make = functools.partial(SpeculativeEngine, num_drafts=num_drafts, **more)
  return engine_of(name, make, visibility)


def requests_of(**settings):
  return make_requests(PROMPTS, **dict(max_new_tokens=[20, 9, 14]) | settings)


CASES = [(name, draft) for name in MODELS for draft in DRAFTS]


@pytest.mark.slow
@pytest.mark.parametrize('name, draft', CASES)
def test_greedy_texts_are_those_of_plain_decoding(name, draft):
  requests = requests_of()
  plain = engine_of(name).generate(requests)
  engine = speculative(name, draft)
  found = engine.generate(requests)
  for mine, wanted in zip(found, plain, strict=True):
    np.testing.assert_array_equal(mine, wanted)
  used = engine.speculation
  assert used.tokens == 43
  assert 0 < used.rounds <= 43 and used.accepted <= used.drafted == 3 * used.rounds
  assert used.rounds + used.accepted >= used.tokens


@pytest.fixture(scope='module')
def pair():
  """Returns (plain engine, one that drafts by two of its four layers)."""
  return engine_of('rope, grouped'), speculative('rope, grouped', 'exit')


@pytest.mark.slow
def test_a_text_ends_where_a_draft_holds_a_stop_token(pair):
  plain, engine = pair
  whole = plain.generate(requests_of())
  stops = [tuple({int(ids[len(ids) // 2])}) for ids in whole]
  requests = requests_of(stop_ids=stops, log_probs=2)
  wanted, found = plain.write(requests), engine.write(requests)
  for mine, text in zip(found, wanted, strict=True):
    np.testing.assert_array_equal(mine.ids, text.ids)
    assert mine.finish == text.finish == 'stop'
    for field in ('written', 'top', 'top_id'):
      mine_N, wanted_N = (getattr(t.log_probs, field) for t in (mine, text))
      np.testing.assert_allclose(mine_N, wanted_N, atol=1e-4)


@pytest.mark.slow
def test_penalties_see_the_drafts_before_a_token(pair):
  plain, engine = pair
  sampling = Sampling(repetition_penalty=1.3, frequency_penalty=0.5)
  requests = requests_of(sampling=[sampling] * 3)
  for mine, wanted in zip(
    engine.generate(requests), plain.generate(requests), strict=True
  ):
    np.testing.assert_array_equal(mine, wanted)


@pytest.mark.slow
def test_a_drawn_text_does_not_depend_on_its_company(pair):
  _, engine = pair
  sampling = Sampling(temperature=0.8, top_k=9)
  requests = requests_of(sampling=[sampling] * 3, seed=[1, 2, 3])
  together = engine.generate(requests)
  for request, ids in zip(requests, together, strict=True):
    np.testing.assert_array_equal(engine.generate([request])[0], ids)
    assert list(engine.stream(request)) == ids.tolist()


@pytest.mark.slow
@pytest.mark.parametrize('draft', DRAFTS)
def test_prefix_models_read_the_prompt_as_one(draft):
  plain = engine_of('rope, grouped', visibility='prefix')
  engine = speculative('rope, grouped', draft, visibility='prefix')
  requests = requests_of()
  for mine, wanted in zip(
    engine.generate(requests), plain.generate(requests), strict=True
  ):
    np.testing.assert_array_equal(mine, wanted)


ROWS, PROMPT = 2000, [1, 2, 3]


def exact(sampling):
  """Returns `{(first, second): probability}` of two drawn tokens after PROMPT."""
  from gpt_jax.inference import sampling as warping

  plain = engine_of('rope, grouped')
  rows = warping.SamplingRows.of([sampling])

  def shares(ids):
    logits_1V = plain.logits(np.array([ids]))[:, -1]
    work = warping.Work.of(rows, logits_1V.shape[1])
    share_1V = jax.jit(warping.distribution)(logits_1V, rows, work)
    return np.asarray(share_1V[0], np.float64)

  return {
    (first, second): share * other
    for first, share in enumerate(shares(PROMPT))
    if share
    for second, other in enumerate(shares([*PROMPT, first]))
    if other
  }


@pytest.mark.slow
@pytest.mark.parametrize('draft', DRAFTS)
def test_drawn_texts_have_the_distribution_of_the_model(draft):
  settings = [
    Sampling(temperature=1.5, top_k=4),
    Sampling(temperature=2.0, top_p=0.6),
    Sampling(temperature=3.0),
  ]
  engine = speculative('rope, grouped', draft, num_drafts=1)
  requests = make_requests(
    [PROMPT] * (len(settings) * ROWS),
    max_new_tokens=2,
    sampling=[one for one in settings for _ in range(ROWS)],
    seed=list(range(ROWS)) * len(settings),
  )
  ids_N2 = np.array(engine.generate(requests))
  assert engine.speculation.accepted > 0
  for i, sampling in enumerate(settings):
    expected = exact(sampling)
    pairs, counts = np.unique(
      ids_N2[i * ROWS : (i + 1) * ROWS], axis=0, return_counts=True
    )
    seen = {
      tuple(pair): count for pair, count in zip(pairs.tolist(), counts, strict=True)
    }
    assert seen.keys() <= expected.keys()
    # Cells of few texts are counted as one.
    often = {pair: ROWS * p for pair, p in expected.items() if ROWS * p >= 5}
    found = [seen.get(pair, 0) for pair in often]
    found, wanted = [*found, ROWS - sum(found)], list(often.values())
    wanted.append(ROWS - sum(wanted))
    if wanted[-1] < 1e-3:
      found, wanted = found[:-1], wanted[:-1]
    wanted = np.array(wanted) * sum(found) / sum(wanted)
    assert scipy.stats.chisquare(found, wanted).pvalue > 1e-3


def test_what_cannot_be_drafted_is_told():
  engine = object.__new__(SpeculativeEngine)
  engine.cfg, engine._draft = parts('learned, post-norm')[0].model, None
  engine.num_virtual = 0
  (request,) = make_requests([[1, 2]], max_new_tokens=80)
  writing = Writing(request)
  with pytest.raises(ConfigError, match='inference.draft: .* 81 tokens'):
    engine._require_draftable([writing])
  writing._guides.masks = True
  with pytest.raises(ConfigError, match='several at a time'):
    engine._require_draftable([writing])


@pytest.mark.slow
@pytest.mark.parametrize('draft', ['ngram', 'exit'])
def test_eight_devices_write_what_one_does(draft):
  """Over three axes, greedy, against plain decoding on one device."""
  mesh = dict(data=2, fsdp=2, sequence=1, tensor=2, expert=1)
  name = 'rope, grouped'
  fields = {f'model__{k}': v for k, v in (dict(num_layers=4) | MODELS[name]).items()}
  config = small.resolve(**fields, parallel__mesh=mesh)
  rules = make_sharding_rules(config.parallel, make_mesh(config.parallel.mesh))
  _, params = parts(name)
  _, shardings = shapes_and_shardings(small.make_gpt(config, rules=rules))
  engine = SpeculativeEngine(
    config.model, jax.device_put(params, shardings), rules=rules, num_drafts=3,
    attend=bind(dense.attend, config.model, config.attention),
    draft_layers=2 if draft == 'exit' else None,
  )  # fmt: skip
  requests = requests_of()
  pairs = zip(
    engine.generate(requests), engine_of(name).generate(requests), strict=True
  )
  for mine, wanted in pairs:
    np.testing.assert_array_equal(mine, wanted)
