"""After the start no request of one text, of any length, waits for a compilation."""

import functools

import jax
import pytest

from gpt_jax import api
from gpt_jax.core.errors import ConfigError
from gpt_jax.serving import warm_up
from tests.serving import served
from tests.serving.test_classify import classes_run


def fresh(run):
  """Returns a Run of the same model that has compiled nothing."""
  return api.Run(run.config, run.model, run.params, run.tokenizer, run.step)


def warmed(run, kinds):
  """Returns Models of a Run that has compiled `kinds`, which are checked."""
  load = functools.partial(served.load, run=run)
  found = served.models(load=load)
  assert warm_up.warm_up(found.get(served.NAME).model, kinds) == kinds
  return found


def lengths(longest):
  return [n for n in (1, 15, 16, 17, 31, 33, 48, 60) if n <= longest]


@pytest.fixture
def compilations():
  """Yields a list that grows by what JAX compiles."""
  found = []

  def note(event, duration, **kwargs):
    if event == '/jax/core/compile/backend_compile_duration':
      found.append(duration)

  jax.monitoring.register_event_duration_secs_listener(note)
  yield found
  jax.monitoring.unregister_event_duration_listener(note)


@pytest.mark.slow
def test_vectors_and_probabilities_of_prompts_are_compiled(compilations):
  run = fresh(served.run_of())
  with served.serve(warmed(run, ['embeddings', 'echo'])) as server:
    server.complete('ab', max_tokens=2)
    before = len(compilations)
    for n in lengths(served.CONTEXT):
      assert server.post('/v1/embeddings', input='x' * n).status_code == 200
      server.complete('x' * n, max_tokens=1, echo=True, logprobs=1)
    assert len(compilations) == before
    assert server.post('/v1/embeddings', input=['x', 'y', 'z']).status_code == 200
    assert len(compilations) > before  # so the count counts


def test_classes_are_compiled(compilations):
  run = fresh(classes_run())
  with served.serve(warmed(run, ['classify'])) as server:
    before = len(compilations)
    for n in lengths(32):
      assert server.post('/v1/classify', input='x' * n).status_code == 200
    assert len(compilations) == before


def test_a_model_is_warmed_up_for_what_it_is_for():
  writer = served.models().get(served.NAME).model
  assert warm_up.warm_up(writer) == []
  load = functools.partial(served.load, run=classes_run())
  with_head = served.models(load=load).get(served.NAME).model
  assert warm_up.warm_up(with_head) == ['classify']
  assert warm_up.warm_up(with_head, warm_up.parse('none')) == []


def test_kinds_are_told_by_name():
  assert warm_up.parse('auto') is None
  assert warm_up.parse('echo,classify') == {'echo', 'classify'}
  with pytest.raises(ConfigError, match="--warm_up=vectors: 'vectors' is none of"):
    warm_up.parse('vectors')
