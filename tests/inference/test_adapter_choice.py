"""A text with an adapter is that of its merged model, whatever its neighbours have."""

import functools

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.beam_search import BeamSearch
from gpt_jax.inference.beams import BeamSettings
from gpt_jax.inference.capacity import Capacity, Wishes
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.request import Request, identities
from gpt_jax.inference.scheduler import Scheduler
from gpt_jax.inference.settings import Sampling
from gpt_jax.inference.slots import Slots
from tests import small_models as small
from tests.inference.test_num_programs import programs_of, random_request
from tests.peft import adapters

pytestmark = pytest.mark.slow

CHUNK, NEW = 16, 20
DRAW = Sampling(temperature=1.0, top_k=12, top_p=0.95)
NAMES = ['wide', 'mixed', None, 'narrow']
SHARED = np.random.default_rng(0).integers(0, 16, 2 * CHUNK)
"""What all prompts begin with: two blocks of the prefix cache."""


@functools.cache
def make(**options):
  """Returns (the Engine of all adapters, {name: Engine of the merged model})."""
  config, params, adapter, merged = adapters.several()
  make_engine = functools.partial(
    Engine, config.model, attend=small.make_gpt(config).attend, **options
  )
  alone = {name: make_engine(each) for name, each in merged.items()}
  alone[None] = make_engine(adapters.base()[1])
  return make_engine(params, adapter=adapter), alone


def requests_of(sampling, names=NAMES, prompts=None):
  prompts = [np.array([3, 1, 4, 1, 5])] * len(names) if prompts is None else prompts
  return [
    Request(prompt_ids=ids, max_new_tokens=NEW, sampling=sampling, seed=7, adapter=name)
    for ids, name in zip(prompts, names, strict=True)
  ]


def plain(request):
  """Returns the Request without its adapter, as a merged model takes it."""
  return Request(
    prompt_ids=request.prompt_ids, max_new_tokens=request.max_new_tokens,
    sampling=request.sampling, seed=request.seed, stop_ids=request.stop_ids,
  )  # fmt: skip


def lists(texts):
  return [ids.tolist() for ids in texts]


@pytest.mark.parametrize('sampling', [Sampling(), DRAW])
def test_a_batch_of_adapters_writes_what_each_does_alone(sampling):
  engine, alone = make()
  requests = requests_of(sampling)
  together = lists(engine.generate(requests))
  assert len(set(map(tuple, together))) == 4
  assert together == [lists(engine.generate([one]))[0] for one in requests]
  assert together == lists(engine.generate(requests[::-1]))[::-1]
  merged = [alone[one.adapter].generate([plain(one)])[0] for one in requests]
  assert together == lists(merged)
  assert list(engine.stream(requests[1])) == together[1]


def test_one_prompt_with_two_adapters_is_two_requests():
  requests = requests_of(DRAW, ['wide', 'mixed', 'wide'])
  assert identities(requests)[:, 1].tolist() == [0, 0, 1]


def scheduler_of(engine, num_slots=2):
  slots = Slots(engine, Capacity(num_slots, adapters.MAX_LEN, CHUNK, num_blocks=12))
  return Scheduler(slots, queue_limit=None, tokens_per_step=3)


def slot_requests():
  rng = np.random.default_rng(1)
  prompts = [np.concatenate([SHARED, rng.integers(0, 16, 3)]) for _ in range(10)]
  names = [['wide', None, 'narrow', 'mixed'][i % 4] for i in range(10)]
  return requests_of(DRAW, names, prompts)


def test_slots_admit_any_adapter_at_any_time():
  engine, alone = make()
  requests, scheduler = slot_requests(), scheduler_of(engine)
  handles = [scheduler.submit(request) for request in requests]
  scheduler.run()
  found = [handle.result().ids.tolist() for handle in handles]
  merged = [alone[one.adapter].generate([plain(one)])[0] for one in requests]
  assert found == lists(merged)


def test_adapters_share_no_keys_and_values():
  engine, scheduler = make()[0], scheduler_of(make()[0])
  reused = []
  for name in ['wide', None, 'mixed', 'wide', None]:
    (request,) = requests_of(DRAW, [name], [np.append(SHARED, 5)])
    handle = scheduler.submit(request)
    scheduler.run()
    reused.append(handle.reused_tokens)
    assert handle.result().ids.tolist() == lists(engine.generate([request]))[0]
  assert reused == [0, 0, 0, 2 * CHUNK, 2 * CHUNK]


def test_another_mix_of_adapters_compiles_nothing():
  engine, _ = make(wishes=Wishes(slots=8))
  engine.generate(requests_of(DRAW))
  scheduler = scheduler_of(engine)
  for _ in range(2):  # the second copies what the first has read
    scheduler.submit(slot_requests()[0]).result()
  engine.score([1], [2, 3], 'wide')
  found = programs_of(engine)
  assert found['decode'] == 2  # of four rows, and of the slots
  for names in (['wide'] * 4, [None] * 4, ['narrow', None, 'mixed', 'mixed']):
    engine.generate(requests_of(DRAW, names))
    for request in slot_requests()[:4]:
      scheduler.submit(request)
    scheduler.run()
    engine.score([1], [2, 3], names[0])
  assert programs_of(engine) == found


def test_more_requests_than_slots_keep_their_adapters():
  engine, alone = make(wishes=Wishes(slots=2, prefill_chunk=CHUNK))
  requests = slot_requests()[:6]
  merged = [alone[one.adapter].generate([plain(one)])[0] for one in requests]
  assert lists(engine.generate(requests)) == lists(merged)


@pytest.mark.parametrize('name', NAMES)
def test_beams_scores_and_logits_are_of_the_adapter(name):
  engine, alone = make()
  (request,) = requests_of(Sampling(), [name])
  settings = BeamSettings(beams=3, length_penalty=1.0, early_stopping=False)
  found = BeamSearch(engine).search(request, settings, 2)
  expected = BeamSearch(alone[name]).search(plain(request), settings, 2)
  assert lists(text.ids for text, _ in found) == lists(text.ids for text, _ in expected)
  ids = SHARED[:9]
  items = [(ids[:4], [ids[4:], ids[5:]])]
  (scores,) = engine.score_many(items, adapter=name)
  expected = [alone[name].score(ids[:4], rest) for rest in (ids[4:], ids[5:])]
  # The order of float32 sums.
  np.testing.assert_allclose([s.log_prob for s in scores], expected, rtol=1e-4)
  assert engine.score(ids[:4], ids[4:], name) == pytest.approx(expected[0], rel=1e-4)
  log_probs = engine.text_log_probs(ids, name).written
  np.testing.assert_allclose(log_probs[3:].sum(), expected[0], rtol=1e-4)
  np.testing.assert_allclose(
    engine.logits(ids[None], name), alone[name].logits(ids[None]), atol=2e-4
  )


def test_unknown_adapters_are_refused_before_anything_is_read():
  engine, alone = make()
  (request,) = requests_of(DRAW, ['wid'])
  with pytest.raises(ConfigError, match="adapter='wid'.*did you mean 'wide'"):
    engine.generate([request])
  with pytest.raises(ConfigError, match="adapter='wid'"):
    scheduler_of(engine).submit(request)
  with pytest.raises(ConfigError, match='loaded without adapters.*--adapters=wid=RUN'):
    alone[None].generate([request])
  with pytest.raises(ConfigError, match='loaded without adapters'):
    alone[None].score([1], [2], 'wide')


def test_requests_without_a_name_are_of_the_base():
  engine, alone = make()
  requests = [random_request(np.random.default_rng(i)) for i in range(4)]
  assert lists(engine.generate(requests)) == lists(alone[None].generate(requests))
