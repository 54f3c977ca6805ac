"""Adapters of one base, asked by name at once: each writes as its run does alone."""

import asyncio

import openai
import pytest

import gpt_jax
from gpt_jax.serving import models as models_of
from gpt_jax.serving.model import Source
from gpt_jax.train import loop
from tests import tiny_runs
from tests.serving import served

pytestmark = pytest.mark.slow

WORDS = {'north': 'fjord', 'south': 'walnut'}
"""What each adapter has learned to write after any word."""
FIELDS = tiny_runs.TEXT | tiny_runs.ONE_LAYER | {
  'data.seq_len': 32, 'model.max_seq_len': 64, 'train.steps': 200,
  'checkpoint.every_steps': 200, 'eval.sets': {}, 'eval.every_steps': 0,
}  # fmt: skip
LORA = {'peft.name': 'lora', 'peft.options.rank': 16, 'optimizer.learning_rate': 0.01}
SLOTS = {'inference.slots': 4, 'inference.slot_tokens': 64}
PROMPTS = tuple(f'{word} ' for word in tiny_runs.words(400).split()[:4])
NEW = 40


def _after_each_word(word):
  return ' '.join(f'{other} {word} {word}' for other in tiny_runs.words(8000).split())


def train(folder, name, text, fields):
  (folder / f'{name}.txt').write_text(text)
  path = {'data.path': str(folder / f'{name}.txt')}
  config = tiny_runs.tiny_config(FIELDS | path | fields)
  loop.train(config, folder / name, quiet=True)
  return str(folder / name)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Returns the workdirs of a base of made-up words, and of two adapters over it."""
  folder = tmp_path_factory.mktemp('adapters')
  found = {'base': train(folder, 'base', tiny_runs.words(20_000), {})}
  for name, word in WORDS.items():
    fields = LORA | {'init_from': found['base']}
    found[name] = train(folder, name, _after_each_word(word), fields)
  return found


@pytest.fixture(scope='module')
def alone(runs):
  """Returns `{(name, prompt): text}` of each run, loaded without the others."""
  found = {}
  for name, path in runs.items():
    texts = gpt_jax.load(path).generate(
      list(PROMPTS), max_new_tokens=NEW, temperature=0
    )
    found |= {(name, prompt): text for prompt, text in zip(PROMPTS, texts, strict=True)}
  return found


@pytest.fixture(scope='module')
def server(runs):
  adapters = {name: runs[name] for name in WORDS}
  loaded = models_of.Models([Source('base', runs['base'], adapters)], SLOTS)
  with served.serve(loaded) as found:
    yield found


async def _ask_all(url, asked):
  async with openai.AsyncOpenAI(base_url=url + '/v1', api_key='none') as client:
    answers = await asyncio.gather(*(
      client.completions.create(
        model=name, prompt=prompt, max_tokens=NEW, temperature=0
      )
      for name, prompt in asked
    ))  # fmt: skip
  return [answer.choices[0].text for answer in answers]


def test_the_texts_of_the_runs_differ_as_their_data(alone):
  for (name, prompt), text in alone.items():
    for other, word in WORDS.items():
      assert (word in text) == (name == other), (name, prompt, text)


def test_each_name_writes_what_its_run_writes_alone(server, alone):
  asked = 3 * list(alone)  # of all names, side by side in four slots
  texts = asyncio.run(_ask_all(server.url, asked))
  assert dict(zip(asked, texts, strict=True)) == alone


def test_names_of_adapters_are_listed_over_their_base(server):
  data = served.http.get(server.url + '/v1/models').json()['data']
  assert {one['id']: one.get('parent') for one in data} == {
    'base': None, 'north': 'base', 'south': 'base',
  }  # fmt: skip
