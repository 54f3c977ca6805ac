"""`gpt_jax.load`: a workdir made by hand comes back as a run, or says what it lacks."""

import dataclasses
import json
import shutil
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest

import gpt_jax
from gpt_jax.checkpoints.manager import Checkpoints
from gpt_jax.config import load
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer, CharTokenizer
from gpt_jax.workdir.paths import Workdir
from tests import small_models as small

TOKENIZER = ByteTokenizer()
CONFIG = small.resolve(model__vocab_size=264, data__seq_len=16)
IN_CONFIG = dict(max_new_tokens=256, temperature=0.8, top_k=0, top_p=1.0)
META = dict(fingerprints=dict(tokenizer=TOKENIZER.fingerprint, data={}))


def params_of(seed):
  return small.random_params(small.make_gpt(CONFIG), seed)


def write_workdir(path, steps, config=CONFIG, tokenizer=TOKENIZER, meta=META):
  """Writes what `load` reads; `steps` maps a step to its items."""
  workdir = Workdir(path).create()
  workdir.write_config(load.to_dict(config))
  tokenizer.save(workdir.tokenizer)
  with Checkpoints(
    workdir.checkpoints, keep_last=9, keep_best=0, best_metric='', asynchronous=False
  ) as store:
    for step, items in steps.items():
      store.save(step, items, meta)
  return workdir


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """Returns a workdir with steps 2 and 5, parameters of seeds 2 and 5."""
  path = tmp_path_factory.mktemp('made')
  return write_workdir(path, {step: dict(params=params_of(step)) for step in (2, 5)})


@pytest.fixture(scope='module')
def run(made):
  return gpt_jax.load(str(made))


def copy_of(made, tmp_path):
  return Workdir(shutil.copytree(made, tmp_path / 'copy'))


def test_a_workdir_loads_as_config_model_params_and_tokenizer(run):
  assert run.config == CONFIG
  assert run.step == 5
  assert run.tokenizer.fingerprint == TOKENIZER.fingerprint
  small.assert_trees_close(run.params, params_of(5), rtol=0)
  tokens_BT = small.random_tokens(2, 10, 257)
  expected = small.logits_of(run.model)(run.params, tokens_BT)
  logits_BTV = run.logits(tokens_BT)
  assert logits_BTV.shape == (2, 10, 257) and logits_BTV.dtype == np.float32
  # The tolerance of float32 sums in another order.
  np.testing.assert_allclose(logits_BTV, expected[..., :257], atol=1e-5)


def test_a_run_writes_streams_and_scores(run):
  text = run.generate('ab', max_new_tokens=8)
  assert isinstance(text, str) and text == ''.join(run.stream('ab', max_new_tokens=8))
  settings = dict(max_new_tokens=8, temperature=1.0, top_k=50, top_p=0.9, seed=3)
  texts = run.generate(['ab', 'ab', ''], **settings)
  assert texts == run.generate(['ab', 'ab', ''], **settings)
  assert texts[0] != texts[1]
  by_position = ('ab', *settings.values())
  slide = dict(beyond_positions='slide')
  assert run.generate('ab', **slide) == run.generate('ab', **IN_CONFIG, **slide)
  assert ''.join(run.stream(*by_position)) == run.generate(*by_position)
  assert run.score('ab', 'c') == pytest.approx(
    float(jax.nn.log_softmax(run.logits([[97, 98]])[0, 1])[99]), abs=1e-5
  )


def test_an_older_step_can_be_asked_for(made):
  run = gpt_jax.load(made, step=2)
  assert run.step == 2
  small.assert_trees_close(run.params, params_of(2), rtol=0)
  with pytest.raises(CheckpointError, match=r'no checkpoint of step 3.*\[2, 5\]'):
    gpt_jax.load(made, step=3)


def test_averaged_parameters_are_preferred(tmp_path):
  write_workdir(tmp_path, {1: dict(params=params_of(1), ema=params_of(9))})
  small.assert_trees_close(gpt_jax.load(tmp_path).params, params_of(9), rtol=0)


def test_an_unset_vocab_size_is_that_of_the_saved_embedding(made, tmp_path):
  workdir = copy_of(made, tmp_path)
  saved = workdir.read_config()
  saved['model']['vocab_size'] = None
  workdir.write_config(saved)
  assert gpt_jax.load(workdir).config.model.vocab_size == 264


def test_a_missing_folder_is_an_error_that_says_how_to_train(tmp_path):
  with pytest.raises(CheckpointError, match='(?s)no such folder.*gpt-jax train') as e:
    gpt_jax.load(tmp_path / 'no where')
  assert e.value.exit_code == 4
  assert str(e.value).endswith(f"--workdir='{tmp_path}/no where'")


def test_another_kind_of_folder_names_what_is_expected(tmp_path):
  (tmp_path / 'config.json').write_text('{"name": "no model"}')
  with pytest.raises(CheckpointError, match='no checkpoints, tokenizer; expected') as e:
    gpt_jax.load(tmp_path)
  assert 'config.json, checkpoints and tokenizer' in str(e.value)
  (tmp_path / 'config.json').write_text('{"architectures": ["GPT2LMHeadModel"]}')
  with pytest.raises(CheckpointError, match='no safetensors files'):
    gpt_jax.load(tmp_path)


def test_a_run_without_a_saved_step_is_named_as_such(made, tmp_path):
  workdir = copy_of(made, tmp_path)
  shutil.rmtree(workdir.checkpoints)
  workdir.checkpoints.mkdir()
  with pytest.raises(CheckpointError, match='no finished step.*gpt-jax train'):
    gpt_jax.load(workdir)
  assert list(workdir.checkpoints.iterdir()) == []


def test_a_config_of_another_version_is_named_with_its_file(made, tmp_path):
  workdir = copy_of(made, tmp_path)
  saved = workdir.read_config()
  saved['model']['num_layerz'] = saved['model'].pop('num_layers')
  workdir.write_config(saved)
  with pytest.raises(CheckpointError, match='(?s)config.json.*model.num_layerz'):
    gpt_jax.load(workdir)


def test_a_config_that_does_not_fit_the_arrays_names_them(made, tmp_path):
  workdir = copy_of(made, tmp_path)
  wider = dataclasses.replace(CONFIG.model, d_ff=48)
  workdir.write_config(load.to_dict(dataclasses.replace(CONFIG, model=wider)))
  with pytest.raises(CheckpointError, match=r'mlp/up/kernel: saved .*64.* wanted .*48'):
    gpt_jax.load(workdir)


def test_another_tokenizer_than_the_checkpoints_is_refused(made, tmp_path):
  workdir = copy_of(made, tmp_path)
  CharTokenizer('abc').save(workdir.tokenizer)
  with pytest.raises(CheckpointError, match=r'char, 3 ids.*fingerprint'):
    gpt_jax.load(workdir)


def test_loading_leaves_the_workdir_as_it_was(made):
  before = {path: path.stat().st_mtime_ns for path in made.path.rglob('*')}
  gpt_jax.load(made)
  assert {path: path.stat().st_mtime_ns for path in made.path.rglob('*')} == before


def test_importing_the_package_starts_no_jax():
  code = (
    'import sys, gpt_jax, json; print(json.dumps('
    '[gpt_jax.__version__, "jax" in sys.modules, callable(gpt_jax.load)]))'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  version, has_jax, can_load = json.loads(done.stdout)
  assert version.count('.') == 2 and not has_jax and can_load


def test_a_run_shows_as_one_line_that_says_what_it_is(run):
  text = repr(run)
  assert len(text) < 200 and '\n' not in text
  assert 'step 5' in text and 'byte tokenizer of 257 ids' in text


@pytest.mark.slow
def test_only_placement_and_sampling_of_a_trained_run_can_change(made):
  colder = gpt_jax.load(made, overrides={'inference.temperature': 0.0})
  assert colder.generate('ab') == gpt_jax.load(made).generate('ab', temperature=0)
  with pytest.raises(ConfigError, match='model.d_model: the run was trained with it'):
    gpt_jax.load(made, overrides={'model.d_model': 32})


def test_parameters_are_unboxed_arrays(run):
  leaves = jax.tree.leaves(run.params, is_leaf=lambda x: isinstance(x, nn.Partitioned))
  assert all(isinstance(leaf, jax.Array) for leaf in leaves)


def test_a_run_of_less_depth_is_its_first_layers(made, run):
  shallow = gpt_jax.load(str(made), overrides={'inference.depth': 1})
  assert shallow.config.model.num_layers == 1
  assert jax.tree.leaves(shallow.params['layers'])[0].shape[0] == 1
  tokens_BT = small.random_tokens(vocab=256)
  model = run.model.clone(cfg=shallow.config.model)
  first = jax.tree.map(lambda leaf: leaf[:1], run.params['layers'])
  wanted = small.logits_of(model)(run.params | {'layers': first}, tokens_BT)
  found = shallow.logits(tokens_BT)
  np.testing.assert_allclose(found, wanted[..., : found.shape[-1]], atol=1e-5)
  with pytest.raises(ConfigError, match='inference.depth=3: the model has 2 layers'):
    gpt_jax.load(str(made), overrides={'inference.depth': 3})


@pytest.mark.slow
@pytest.mark.parametrize('draft', ['ngram', 'exit:1', 'workdir'])
def test_drafts_change_no_greedy_text(draft, made, run, tmp_path):
  if draft == 'workdir':
    draft = str(write_workdir(tmp_path, {1: dict(params=params_of(1))}).path)
  wanted = run.generate(['The', 'a'], max_new_tokens=9, temperature=0)
  fast = gpt_jax.load(str(made), overrides={'inference.draft': draft})
  assert fast.generate(['The', 'a'], max_new_tokens=9, temperature=0) == wanted
  used = fast.passes()['speculation']
  assert used['tokens_per_pass'] >= 1 and used['drafted'] >= 4
  assert run.passes() == {}


@pytest.mark.slow
def test_a_draft_of_another_tokenizer_is_refused(made, tmp_path):
  tokenizer = CharTokenizer('ab')
  meta = dict(fingerprints=dict(tokenizer=tokenizer.fingerprint, data={}))
  other = write_workdir(
    tmp_path, {1: dict(params=params_of(1))}, tokenizer=tokenizer, meta=meta
  )
  fast = gpt_jax.load(str(made), overrides={'inference.draft': str(other.path)})
  with pytest.raises(ConfigError, match='use a run with the same tokenizer'):
    fast.generate('The')


@pytest.mark.slow
def test_tokens_that_leave_early_take_fewer_layers(made, run):
  never = {'inference.exit_measure': 'margin', 'inference.exit_threshold': 1.0}
  whole = gpt_jax.load(str(made), overrides=never)
  settings = dict(max_new_tokens=9, temperature=0)
  assert whole.generate('The', **settings) == run.generate('The', **settings)
  assert whole.passes() == {'layers': {'per_token': 2.0, 'of': 2}}
  at_once = never | {'inference.exit_threshold': 0.0}
  quick = gpt_jax.load(str(made), overrides=at_once)
  quick.generate('The', **settings)
  assert quick.passes() == {'layers': {'per_token': 1.0, 'of': 2}}


@pytest.mark.parametrize(
  'overrides, told',
  [
    ({'inference.draft': 'exit:x'}, 'expected exit:N'),
    ({'inference.draft': 'exit:0'}, 'expected 1, 2'),
    ({'inference.draft': 'exit:2', 'inference.depth': 1}, 'expected 1'),
    ({'inference.draft': 'ngram', 'inference.exit_measure': 'margin'}, 'by all layers'),
  ],
)
def test_layers_that_cannot_be_asked_for_are_named(made, overrides, told):
  with pytest.raises(ConfigError, match=told):
    gpt_jax.load(str(made), overrides=overrides)
