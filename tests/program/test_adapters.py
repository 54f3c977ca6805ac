"""Adapters of finished runs over their base: read, told apart, refused by name."""

import json

import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli, peft
from gpt_jax.checkpoints.manager import Checkpoints
from gpt_jax.config import load as load_config
from gpt_jax.core import array_checksums, pytree
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.program import adapters
from gpt_jax.program.base import Base
from gpt_jax.workdir.paths import Workdir
from tests import small_models as small
from tests.peft import adapters as random_adapters

pytestmark = pytest.mark.slow

TOKENIZER = ByteTokenizer()
META = dict(fingerprints=dict(tokenizer=TOKENIZER.fingerprint, data={}))
FIELDS = dict(model__vocab_size=264, data__seq_len=16, model__position='rope')
OPTIONS = {
  'news': dict(rank=3, targets='query|mlp/'),
  'poems': random_adapters.PISSA,
}
PROMPTS = ['ab', 'the', 'ab', 'ab']
NAMES = ['news', 'poems', None, 'poems']


def write(path, config, params, meta=META):
  """Writes what `load` reads of a run with one step, 1."""
  workdir = Workdir(path).create()
  workdir.write_config(load_config.to_dict(config))
  TOKENIZER.save(workdir.tokenizer)
  with Checkpoints(
    workdir.checkpoints, keep_last=9, keep_best=0, best_metric='', asynchronous=False
  ) as store:
    store.save(1, dict(params=params), meta)


def write_adapter(path, base, params, options, seed=0, **fields):
  """Writes a run with a LoRA adapter over `base`, whose parameters are `params`."""
  config = random_adapters.config_of(options, init_from=str(base), **FIELDS | fields)
  adapter = peft.make_adapter(config)
  leaves = random_adapters.trained(adapter, params, seed)
  sums = {
    name: array_checksums.checksum(leaf) for name, leaf in pytree.named_leaves(params)
  }
  record = Base(str(base), 1, 'float32', {name: name for name in sums}, sums)
  saved = {name: leaf for name, leaf in leaves.items() if adapter.added[name].trains}
  saved |= {name: leaf for name, leaf in leaves.items() if name not in saved}
  write(path, config, pytree.nested(saved), META | dict(base=record.as_json()))


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Returns the folder of a base and two runs over it, and one over another base."""
  folder = tmp_path_factory.mktemp('runs')
  config = random_adapters.config_of(**FIELDS)
  params = small.random_params(small.make_gpt(config))
  write(folder / 'base', config, params)
  for seed, (name, options) in enumerate(OPTIONS.items()):
    write_adapter(folder / name, folder / 'base', params, options, seed)
  other = small.random_params(small.make_gpt(config), seed=9)
  write(folder / 'other_base', config, other)
  write_adapter(folder / 'other', folder / 'other_base', other, OPTIONS['news'])
  return folder


@pytest.fixture(scope='module')
def run(runs):
  return gpt_jax.load(runs / 'base', adapters={n: str(runs / n) for n in OPTIONS})


@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_each_text_is_that_of_its_run_alone(run, runs, temperature):
  settings = dict(max_new_tokens=12, temperature=temperature, seed=3)
  found = run.complete(PROMPTS, adapter=NAMES, **settings)
  ids = [each.ids.tolist() for (each,) in found]
  assert ids[0] != ids[2]
  for prompt, name, each in zip(PROMPTS, NAMES, ids, strict=True):
    alone = gpt_jax.load(runs / (name or 'base'))  # merged
    assert each == alone.complete(prompt, **settings)[0].ids.tolist()


def test_the_scheduler_and_scores_take_a_name(run, runs):
  with run.scheduler().start() as scheduler:
    handles = [
      scheduler.submit('ab', max_new_tokens=9, temperature=0, adapter=name)
      for name in NAMES
    ]
    texts = [handle.result().text for handle in handles]
  written = run.generate('ab', max_new_tokens=9, temperature=0, adapter='news')
  assert texts[0] == written
  alone = gpt_jax.load(runs / 'news')
  assert run.score('ab', 'cd', adapter='news') == pytest.approx(
    alone.score('ab', 'cd'), rel=1e-4
  )
  (score,) = run.score_texts(['some words'], adapter='news')
  (expected,) = alone.score_texts(['some words'])
  assert score.log_prob == pytest.approx(expected.log_prob, rel=1e-4)
  np.testing.assert_allclose(
    run.logits([[1, 2]], 'news'), alone.logits([[1, 2]]), atol=2e-4
  )


def test_echo_has_log_probs_of_the_adapter(run, runs):
  asked = dict(max_new_tokens=3, temperature=0, echo=True, logprobs=1)
  (found,) = run.complete('abc', adapter='news', **asked)
  (expected,) = gpt_jax.load(runs / 'news').complete('abc', **asked)
  assert found.text == expected.text
  pairs = zip(found.log_probs, expected.log_probs, strict=True)
  values = [[a.log_prob, b.log_prob] for a, b in pairs if a.log_prob is not None]
  np.testing.assert_allclose(*zip(*values, strict=True), atol=1e-4)
  assert len(values) >= 5


@pytest.mark.slow
def test_on_a_mesh_they_write_the_same(run, runs):
  mesh = {'parallel.mesh.tensor': 2, 'parallel.mesh.fsdp': 2, 'parallel.mesh.data': 2}
  sharded = gpt_jax.load(
    runs / 'base', overrides=mesh, adapters={n: str(runs / n) for n in OPTIONS}
  )
  settings = dict(max_new_tokens=9, temperature=0, adapter=NAMES)
  assert sharded.generate(PROMPTS, **settings) == run.generate(PROMPTS, **settings)


def test_the_command_chooses_by_flag_and_by_line(run, runs, tmp_path, capsys):
  named = ','.join(f'{name}={runs / name}' for name in OPTIONS)
  flags = ['generate', f'--workdir={runs / "base"}', f'--adapters={named}']
  flags += ['--max_new_tokens=9', '--temperature=0']
  assert cli.main([*flags, '--adapter=news', '--prompt=ab']) == 0
  expected = run.generate('ab', max_new_tokens=9, temperature=0, adapter='news')
  assert capsys.readouterr().out == f'ab{expected}\n'
  lines = [{'prompt': 'ab', 'adapter': 'poems'}, {'prompt': 'ab'}]
  file = tmp_path / 'in.jsonl'
  file.write_text('\n'.join(map(json.dumps, lines)))
  assert cli.main([*flags, '--adapter=news', f'--prompts_file={file}', '--json']) == 0
  found = json.loads(capsys.readouterr().out)['completions']
  of_poems = run.generate('ab', max_new_tokens=9, temperature=0, adapter='poems')
  assert [each['text'] for each in found] == [of_poems, expected]


def test_names_and_runs_are_read_from_one_flag():
  assert adapters.parse('a=runs/x, b=runs/y=1') == {'a': 'runs/x', 'b': 'runs/y=1'}
  with pytest.raises(ConfigError, match="two are named 'a', x and y; give each"):
    adapters.parse('a=x,a=y')
  for text in ('', 'a', 'a=', '=x', 'a=x,'):
    with pytest.raises(ConfigError, match='expected NAME=RUN,NAME=RUN'):
      adapters.parse(text)


def refusal(runs, error=ConfigError, base='base', overrides=None, **named):
  """Returns the message of a load that is refused."""
  with pytest.raises(error) as caught:
    gpt_jax.load(runs / base, adapters=named, overrides=overrides)
  return str(caught.value)


def test_an_adapter_of_another_base_is_refused(runs):
  text = refusal(runs, CheckpointError, news=runs / 'news', odd=runs / 'other')
  assert text.startswith("adapter 'odd': ") and 'other_base at step 1 (finger' in text
  assert 'parameters differ' in text and 'Load that one' in text
  text = refusal(runs, CheckpointError, base='other_base', news=runs / 'news')
  assert 'is not the model that' in text


def test_what_is_no_adapter_is_refused(runs, tmp_path):
  text = refusal(runs, CheckpointError, a=runs / 'base')
  assert 'holds a whole model and no adapter' in text
  assert 'no run with checkpoints' in refusal(runs, CheckpointError, a=tmp_path / 'no')
  assert 'expected {name: run}' in refusal(runs)


@pytest.mark.parametrize('options', [dict(dora=True), dict(biases='targets')])
def test_methods_without_a_batched_form_are_refused(runs, tmp_path, options):
  params = gpt_jax.load(runs / 'base').params
  write_adapter(tmp_path / 'run', runs / 'base', params, dict(rank=2) | options)
  text = refusal(runs, a=tmp_path / 'run')
  assert "peft.name='lora' with {'rank': 2, " in text
  assert 'generate with that run alone' in text


def test_a_model_that_computes_something_else_is_refused(runs, tmp_path):
  params = gpt_jax.load(runs / 'base').params
  fields = dict(model__logit_softcap=5.0)
  write_adapter(tmp_path / 'run', runs / 'base', params, dict(rank=2), **fields)
  text = refusal(runs, CheckpointError, a=tmp_path / 'run')
  assert 'model.logit_softcap 5.0, here 0.0' in text


@pytest.mark.parametrize(
  'overrides', [{'inference.draft': 'ngram'}, {'inference.exit_measure': 'margin'}]
)
def test_drafts_and_early_exits_are_refused(runs, overrides):
  text = refusal(runs, overrides=overrides, news=runs / 'news')
  assert 'not with several adapters at once' in text


def test_an_unknown_name_in_a_request_is_refused(run, runs):
  with pytest.raises(ConfigError, match="adapter='new'.*did you mean 'news'"):
    run.generate('ab', adapter='new')
  with pytest.raises(ConfigError, match='adapter: 1 values for 2 prompts'):
    run.generate(['ab', 'c'], adapter=['news'])
  with pytest.raises(ConfigError, match='loaded without adapters'):
    gpt_jax.load(runs / 'base').generate('ab', adapter='news')
