"""What a scrape tells of a scheduler at work."""

import prometheus_client

from gpt_jax.inference.request import Request
from gpt_jax.inference.scheduler import Scheduler
from gpt_jax.serving import engine_state
from tests.fake_slots import FakeSlots


def collected(scheduler, **values):
  registry = prometheus_client.CollectorRegistry()
  state = engine_state.read('small', 7, scheduler, **values)
  registry.register(engine_state.Collector(lambda: [state]))
  return {
    sample.name.removeprefix('gpt_jax_'): sample.value
    for family in registry.collect()
    for sample in family.samples
  }


def test_a_scrape_tells_who_waits_and_who_runs():
  scheduler = Scheduler(FakeSlots(num_slots=2))
  for _ in range(5):
    scheduler.submit(Request(prompt_ids=[1, 2, 3], max_new_tokens=40))
  scheduler.step()
  found = collected(scheduler, queue_limit=16)
  assert (found['queue_length'], found['running_requests'], found['slots']) == (3, 2, 2)
  assert (found['queue_limit'], found['model_step'], found['engine_up']) == (16, 7, 1)
  assert found['admitted_total'] == 2


def test_reused_tokens_and_blocks_of_the_prefix_cache_are_told():
  scheduler = Scheduler(FakeSlots(num_slots=1, chunk=4, num_blocks=6))
  for last in (1, 2):
    scheduler.submit(Request(prompt_ids=[*range(8), last], max_new_tokens=1))
    scheduler.run()
  found = collected(scheduler, queue_limit=None, is_alive=False)
  assert found['prompt_tokens_reused_total'] == 8
  assert (found['prefix_blocks'], found['prefix_blocks_used']) == (6, 2)
  assert found['engine_up'] == 0
  assert 'queue_limit' not in found


def test_a_registry_takes_a_collector_before_there_are_engines():
  def engines():
    raise AssertionError('asked before a scrape')

  registry = prometheus_client.CollectorRegistry(auto_describe=True)
  registry.register(engine_state.Collector(engines))
