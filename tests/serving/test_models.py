"""Models and adapters by name: from the start-up's list, and from nowhere else."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.serving.errors import ApiError
from gpt_jax.serving.model import Source
from gpt_jax.serving.models import parse_sources
from tests.inference.test_num_programs import programs_of
from tests.serving import served
from tests.serving.test_completions import events


def test_names_of_runs_may_be_left_out():
  assert parse_sources(['runs/tiny', 'bert=hub/minilm', './a=b/c'], []) == [
    Source('tiny', 'runs/tiny'), Source('bert', 'hub/minilm'), Source('c', './a=b/c'),
  ]  # fmt: skip


def test_adapters_belong_to_a_run():
  assert parse_sources(['runs/tiny'], ['poems=runs/a']) == [
    Source('tiny', 'runs/tiny', {'poems': 'runs/a'})
  ]
  first, second = parse_sources(['a', 'b'], ['b/x=runs/x', 'a/y=runs/y'])
  assert (first.adapters, second.adapters) == ({'y': 'runs/y'}, {'x': 'runs/x'})


@pytest.mark.parametrize(
  'workdirs, adapters, said',
  [
    (['a/x', 'b/x'], [], "two models are named 'x'"),
    (['a', 'b'], ['x=runs/x'], 'MODEL/NAME=DIR'),
    (['a'], ['x'], 'expected NAME=DIR'),
    (['a'], ['a=runs/x'], 'the name of another model'),
    (['a'], ['c/x=runs/x'], 'of a'),
  ],
)
def test_names_that_cannot_be_are_told(workdirs, adapters, said):
  with pytest.raises(ConfigError, match=said):
    parse_sources(workdirs, adapters)


@pytest.mark.parametrize('name', ['', '../small', '/etc/passwd', 'small\0', 'SMALL'])
def test_no_name_of_a_request_is_a_path(server, name):
  with pytest.raises(ApiError) as caught:
    server.models.get(name)
  assert caught.value.status == 404


def test_no_request_compiles_anything(server):
  engine = served.run_of().engine
  server.complete('ab', max_tokens=3)
  before = programs_of(engine)
  longest = served.CONTEXT - 1
  for length in (1, 2, 15, 16, 17, 31, 33, 48, 49, longest):
    server.complete('x' * length, max_tokens=served.CONTEXT - length)
  server.complete(['a', 'b' * 20], n=3, max_tokens=9, top_k=3, logprobs=5, stop='q')
  server.complete('ab', logit_bias={'3': 1}, presence_penalty=1, seed=7, top_p=0.5)
  events(server, '/v1/completions', prompt='x' * 40, max_tokens=20, n=2)
  assert programs_of(engine) == before


def test_several_models_are_served_by_name():
  with served.serve(served.models(('one', 'two'))) as server:
    for name in ('one', 'two'):
      found = server.complete('ab', model=name, max_tokens=3, seed=1)
      assert found['model'] == name and found['choices']
    assert server.post('/v1/completions', prompt='ab').status_code == 404
