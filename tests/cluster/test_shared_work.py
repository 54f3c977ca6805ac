"""Commands that several tasks of a real `srun` share: prepare, eval, a sweep."""

import json
import re

import pytest

from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.cluster import runs
from tests.corpus import corpora
from tests.sweeps import studies

pytestmark = [
  pytest.mark.cluster,
  pytest.mark.slow,
  pytest.mark.usefixtures('idle_nodes'),
]
TWO_NODES = ['--where=slurm', '--nodes=2', '--wait', *runs.FLAGS]


def launch(gpt_jax, tmp_path, *words):
  """Returns what the tasks of a launch print that ends well."""
  code, said = gpt_jax('launch', f'--log_dir={tmp_path / "logs"}', *words)
  logs = [path.read_text() for path in sorted((tmp_path / 'logs').glob('*.task*'))]
  assert code == 0, said + ''.join(logs)
  return logs


def test_tasks_prepare_a_corpus_with_the_bytes_of_one(gpt_jax, tmp_path):
  texts = corpora.texts(3000)
  corpora.write_lines(tmp_path / 'a.jsonl', [{'text': text * 8} for text in texts])
  fields = {'data.source': 'jsonl', 'data.path': str(tmp_path / 'a.jsonl')}
  prepare = ['prepare', *tiny_runs.flags(fields), '--shard_mb=1', '--step=exact']
  code, said = gpt_jax(*prepare, f'--out={tmp_path / "one"}', '--processes=1')
  assert code == 0, said
  ours = [*TWO_NODES, '--', *prepare, f'--out={tmp_path / "two"}']
  first, second = launch(gpt_jax, tmp_path, *ours)
  assert 'process 0 (n1) of 2 makes a share of its own' in first
  assert 'process 1 (n2) of 2 makes a share of its own' in second
  assert corpora.contents(tmp_path / 'two') == corpora.contents(tmp_path / 'one')
  assert len(list((tmp_path / 'two').rglob('shard.json'))) > 2

  array = ['--where=slurm', '--shards=3', '--cpus_per_task=1', '--wait', *runs.FLAGS]
  three = [*array, '--', *prepare, '--wait', f'--out={tmp_path / "three"}']
  launch(gpt_jax, tmp_path, *three)
  assert corpora.contents(tmp_path / 'three') == corpora.contents(tmp_path / 'one')


def test_tasks_score_a_run_together(gpt_jax, uninterrupted, tmp_path):
  code, said = gpt_jax('eval', f'--workdir={uninterrupted}', '--json')
  assert code == 0, said
  alone = json.loads(said.splitlines()[-1])
  Workdir(uninterrupted).eval.unlink()
  command = ['eval', f'--workdir={uninterrupted}', '--json']
  first, second = launch(gpt_jax, tmp_path, *TWO_NODES, '--', *command)
  together = json.loads(first.splitlines()[-1])
  assert together['validation'] == pytest.approx(alone['validation'], rel=1e-5)
  assert 'validation' not in second
  saved = json.loads(Workdir(uninterrupted).eval.read_text())
  assert saved.pop('step') == runs.STEPS and saved == together


def test_tasks_share_the_points_of_a_sweep(gpt_jax, tmp_path):
  path = studies.write(tmp_path, seeds='(0, 1, 2, 3)', rows="{'a': {}}")
  command = ['sweep', path, f'--workdir={tmp_path / "runs"}']
  logs = launch(gpt_jax, tmp_path, *TWO_NODES, '--', *command)
  made = [int(re.search(r'(\d+) points have run here', log)[1]) for log in logs]
  assert len(made) == 2 and sum(made) == 4
  _, shown = gpt_jax('status', *command[1:])
  assert '4 points: 4 done' in shown


def test_what_one_process_alone_does_is_refused_for_two(gpt_jax, tmp_path):
  flags = ['--where=slurm', '--nodes=2', '--time=x', '--', 'generate', '--workdir=w']
  code, said = gpt_jax('launch', *flags)
  assert code == 2 and '--time=x: expected minutes' in said
  assert '-- generate: is a program of one process, and 2 would each run' in said
