"""lm-evaluation-harness gets the same numbers from a run as our own scorer."""

import numpy as np
import pytest

from gpt_jax import api
from gpt_jax.core.errors import ConfigError
from gpt_jax.harness import choice_tasks, lm_eval_data, lm_eval_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def lm_eval():
  return pytest.importorskip('lm_eval', reason='needs the extra [lm-eval]')


@pytest.fixture(scope='module')
def run(finished_run):
  return api.load(finished_run)


def evaluate(run, names, data_dir, **options):
  manager = lm_eval_run.task_manager(data_dir)
  return lm_eval_run.evaluate(run, names, manager, **options)


@pytest.mark.parametrize('name', choice_tasks.TASKS)
def test_the_harness_agrees_with_our_scorer(name, run, data_dir, lm_eval):
  local = name.replace('blimp_', 'blimp_local_') if 'blimp' in name else f'{name}_local'
  asked = choice_tasks.questions(name, data_dir)
  scores = choice_tasks.score(run, name, asked)
  found = evaluate(run, [local], data_dir, log_samples=True)
  theirs = lm_eval_run.by_task(found)[local]
  for metric, value in choice_tasks.metrics(asked, scores).items():
    if metric != 'questions':
      assert theirs[metric] == pytest.approx(value)
  samples = sorted(found['samples'][local], key=lambda sample: sample['doc_id'])
  for sample, group in zip(samples, scores, strict=True):
    wanted = [(score.log_prob, score.is_greedy) for score in group]
    assert [pair[1] for pair in sample['filtered_resps']] == [p[1] for p in wanted]
    np.testing.assert_allclose(
      [pair[0] for pair in sample['filtered_resps']], [p[0] for p in wanted], atol=1e-4
    )


def test_the_harness_asks_by_name_and_workdir(run, finished_run, data_dir, lm_eval):
  from gpt_jax.harness import lm_eval_model  # noqa: F401, registers gpt-jax

  manager = lm_eval_run.task_manager(data_dir)
  options = dict(tasks=['blimp_local'], task_manager=manager, bootstrap_iters=10)
  by_name = lm_eval.simple_evaluate(
    'gpt-jax', {'workdir': str(finished_run)}, **options
  )
  as_text = lm_eval.simple_evaluate('gpt-jax', f'workdir={finished_run}', **options)
  wanted = evaluate(run, ['blimp_local'], data_dir)
  assert by_name['results'] == as_text['results'] == wanted['results']


def test_tasks_that_write_and_read_whole_texts_run(run, data_dir, lm_eval):
  found = evaluate(run, ['squad_local', 'wikitext_local'], data_dir, log_samples=True)
  (sample,) = found['samples']['squad_local']
  text = sample['filtered_resps'][0]
  assert '\n' not in text
  prompt = 'Rain falls.\n\nQuestion: What falls?\nAnswer:'
  wanted = run.generate(prompt, max_new_tokens=32, stop='\n', temperature=0.0)
  assert text == wanted
  pages = [sample['doc']['page'] for sample in found['samples']['wikitext_local']]
  total = sum(score.log_prob for score in run.score_texts(pages))
  num_bytes = sum(len(page.encode()) for page in pages)
  metrics = lm_eval_run.by_task(found)['wikitext_local']
  assert metrics['bits_per_byte'] == pytest.approx(-total / num_bytes / np.log(2))


def test_windows_of_long_texts_are_those_of_the_harness(run, lm_eval):
  from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

  text = 'some words and more of them ' * 9
  ids = run.tokenizer.encode(text).tolist()
  longest = run.config.model.max_seq_len
  assert len(ids) > 2 * longest
  parts = get_rolling_token_windows(ids, run.tokenizer.eos_id, longest, 1)
  pairs = [make_disjoint_window(part) for part in parts]
  engine = run._generator.engine
  wanted = sum(engine.score(a, b) for a, b in pairs)
  (found,) = run.score_texts([text])
  assert found.num_tokens == len(ids)
  assert found.log_prob == pytest.approx(wanted, abs=1e-3)


def test_an_unknown_task_names_the_local_ones(run, data_dir, lm_eval):
  with pytest.raises(ConfigError, match='no such task .* piqa_local'):
    evaluate(run, ['piqa_locl'], data_dir)


def test_there_is_a_local_task_for_each_of_ours():
  ours = {name.replace('blimp_', 'blimp_local_') for name in choice_tasks.TASKS}
  ours = {name if 'blimp' in name else f'{name}_local' for name in ours}
  assert ours <= set(lm_eval_run.local_tasks())


def test_answers_are_compared_without_articles_and_case():
  doc = {'answers': ['the Rain', 'water drops']}
  assert lm_eval_data.squad_results(doc, [' rain.']) == {'exact_match': 1.0, 'f1': 1.0}
  found = lm_eval_data.squad_results(doc, ['drops of water'])
  assert found == {'exact_match': 0.0, 'f1': pytest.approx(0.8)}
  assert lm_eval_data.squad_results(doc, [''])['f1'] == 0
