"""Shapes of a planned step: its vocabulary and its batch, before any data is read."""

import jax
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.data.tokenizer import known_size
from gpt_jax.model import flops
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs, memory, search, topologies
from gpt_jax.program import setup
from gpt_jax.program.build import build_program
from gpt_jax.workdir.paths import Workdir
from tests.program.test_forward import distilled
from tests.tiny_runs import tiny_config


@known_size(lambda cfg: 4096)
def make_syllables(cfg, texts):
  raise AssertionError('a plan builds no tokenizer')


@pytest.mark.parametrize(
  'overrides, size',
  [
    ({'tokenizer.name': 'byte'}, 257),
    ({'tokenizer.name': 'gpt2'}, 50257),
    ({'tokenizer.name': 'bpe', 'tokenizer.vocab_size': 999}, 999),
    ({'tokenizer.name': 'char', 'model.vocab_size': 65}, 65),
    ({'objective.name': 'masked_lm', 'model.vocab_size': 65}, 64),
    ({'data.source': 'markov', 'data.generator.vocab_size': 12}, 12),
    ({'data.source': 'uniform', 'data.generator.vocab_size': 12}, 12),
    ({'tokenizer.name': f'{__name__}:make_syllables'}, 4096),
  ],
)
def test_a_vocabulary_is_known_without_reading_text(overrides, size):
  overrides = {'data.source': 'text', 'data.path': 'nowhere/*.txt'} | overrides
  resolved = setup.resolve(base.get_config(), overrides)
  assert inputs.vocabulary(resolved).size == size


@pytest.mark.parametrize(
  'source',
  ['markov', 'uniform', 'copy', 'dyck', 'induction', 'modular', 'symbol_map'],
)
def test_a_language_has_the_vocabulary_of_training(source, tmp_path):
  resolved = tiny_config({'data.source': source})
  tokenizer = setup.open_tokenizer(resolved, tmp_path)
  assert inputs.vocabulary(resolved).size == tokenizer.vocab_size


def test_an_unknown_vocabulary_is_asked_for():
  resolved = tiny_config({'data.source': 'text', 'tokenizer.name': 'char'})
  with pytest.raises(ConfigError, match='--config.model.vocab_size=N'):
    inputs.vocabulary(resolved)


def test_separate_documents_have_segments_and_positions():
  for overrides in (
    {'data.packing': 'first_fit'},
    {'data.mixture': {'a': {'weight': 1, 'mask_documents': True}}},
  ):
    cfg = tiny_config(overrides | {'data.source': 'python_docs'})
    program = build_program(cfg, vocab=inputs.vocabulary(cfg))
    batch = inputs.abstract_batch(program)
    assert batch.keys() == {'tokens', 'segments', 'positions'}
    assert batch['segments'].shape == (8, 17)


def from_a_teacher(cfg, *, vocab, seq_len):
  return distilled(cfg, vocab=vocab, seq_len=seq_len, path=TEACHER[0])


TEACHER = ['']


def test_references_of_an_objective_are_planned(tmp_path):
  TEACHER[0] = str(tmp_path)
  teacher = tiny_config({'model.num_layers': 1, 'model.vocab_size': 16})
  Workdir(tmp_path).write_config(load.to_dict(teacher))
  student = tiny_config({'objective.name': f'{__name__}:from_a_teacher'})
  program = inputs.make_program(student, make_mesh(dict(data=1), jax.devices()[:1]))
  classes = memory.of_arguments(program.abstract_state, inputs.abstract_batch(program))
  size = 4 * flops.parameter_count(teacher.model)
  assert classes['references'] * memory.GIB == size
  kept = search.state_sizes(student, topologies.parse('cpu'))
  alone = search.state_sizes(tiny_config(), topologies.parse('cpu'))
  assert (kept.gib - alone.gib) * memory.GIB == pytest.approx(size)


def test_rows_past_the_positions_of_a_reference_are_refused(tmp_path):
  TEACHER[0] = str(tmp_path)
  learned = {'model.position': 'learned', 'model.max_seq_len': 8}
  teacher = tiny_config(learned | {'data.seq_len': 8, 'model.vocab_size': 16})
  Workdir(tmp_path).write_config(load.to_dict(teacher))
  student = tiny_config({'objective.name': f'{__name__}:from_a_teacher'})
  for check in (setup.check_plan, inputs.make_program):
    with pytest.raises(ConfigError, match=r"seq_len=16: .*'teacher' .* end at .*=8"):
      check(student)


def test_a_reference_that_is_no_run_is_named(tmp_path):
  for TEACHER[0] in ('', str(tmp_path / 'none')):
    with pytest.raises(UserError, match=f"reads as 'teacher', '{TEACHER[0]}': "):
      setup.check_plan(tiny_config({'objective.name': f'{__name__}:from_a_teacher'}))


def test_a_batch_of_a_task_has_the_fields_of_its_rows():
  from tests.tasks import tiny_tasks

  config = tiny_tasks.config('ner', 'token_labels')
  names = inputs.batch_names(config)
  assert names == ('tokens', 'segments', 'positions', 'labels', 'token_types')
