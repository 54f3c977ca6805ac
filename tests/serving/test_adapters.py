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

SENTENCES = {
  'sea': 'The sea is grey and the boats stay in. ',
  'hill': 'A goat stands on the hill above us. ',
}
FIELDS = tiny_runs.TEXT | tiny_runs.ONE_LAYER | {
  'data.seq_len': 32, 'model.max_seq_len': 64, 'checkpoint.every_steps': 40,
  'train.steps': 40, 'eval.sets': {}, 'eval.every_steps': 0,
}  # fmt: skip
LORA = {'peft.name': 'lora', 'peft.options.rank': 8, 'optimizer.learning_rate': 0.05}
SLOTS = {'inference.slots': 4, 'inference.slot_tokens': 64}
PROMPTS = 'The ', 'A g', 'It was', 'sea'
NEW = 40


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
  for name, sentence in SENTENCES.items():
    fields = LORA | {'init_from': found['base']}
    found[name] = train(folder, name, 300 * sentence, fields)
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
  adapters = {name: runs[name] for name in SENTENCES}
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
  for name, sentence in SENTENCES.items():
    texts = [text for (other, _), text in alone.items() if other == name]
    assert all(sentence[-12:-2] in text for text in texts), texts
  assert not any(
    sentence[-12:-2] in alone['base', prompt]
    for prompt in PROMPTS
    for sentence in SENTENCES.values()
  )


def test_each_name_writes_what_its_run_writes_alone(server, alone):
  asked = 3 * list(alone)  # of all names, side by side in four slots
  texts = asyncio.run(_ask_all(server.url, asked))
  assert dict(zip(asked, texts, strict=True)) == alone


def test_names_of_adapters_are_listed_over_their_base(server):
  data = served.http.get(server.url + '/v1/models').json()['data']
  assert {one['id']: one.get('parent') for one in data} == {
    'base': None, 'sea': 'base', 'hill': 'base',
  }  # fmt: skip
