"""A sweep and its report in a bucket are those of a folder."""

import json

import pytest

from gpt_jax import cli
from gpt_jax.storage import objects
from gpt_jax.storage.places import place
from tests import tiny_runs
from tests.sweeps import studies

pytestmark = pytest.mark.slow

ONCE = "'checkpoint.every_steps': 4"  # the emulator is slow to save
ROWS = f"{{'slow': {{{ONCE}}}, 'fast': {{'optimizer.learning_rate': 0.1, {ONCE}}}}}"
MORE = """
    claims=(
      Claim(
        'faster', 'a text', 'a source', 'ordering', 'C',
        rule=rules.better('fast', 'slow', metric='train/loss'),
      ),
    ),
    figures=(
      Figure('curves', 'Loss', y='train/loss'),
      Figure('bad', 'None', draw=lambda axes, found: found['no such']),
    ),
    metric='train/loss',"""
RULES = 'from gpt_jax.analysis import rules'
BY_CLOCK = {'date', 'wall_seconds', 'seconds', 'ran_on', 'commits', 'file'}


def without_clock(value):
  if isinstance(value, dict):
    return {k: without_clock(v) for k, v in value.items() if k not in BY_CLOCK}
  return [without_clock(one) for one in value] if isinstance(value, list) else value


def test_a_sweep_and_its_report_equal_those_of_a_folder(bucket, tmp_path, capsys):
  url = bucket[0]
  path = studies.write(tmp_path, rows=ROWS, more=MORE)
  path.write_text(path.read_text().replace('import *', 'import *\n' + RULES, 1))
  for root in (str(tmp_path / 'runs'), url):
    for command in ('sweep', 'status', 'report', 'report'):  # the second adds nothing
      assert cli.main([command, str(path), f'--workdir={root}']) == 0, command
  shown = capsys.readouterr().out
  assert shown.count('2 points: 2 done') == 4 and f'in {url}/study/quick' in shown
  here, there = tmp_path / 'runs' / 'study' / 'quick', place(f'{url}/study/quick')
  assert objects.names_in(here) == objects.names_in(there)
  for point in ('slow,seed=0', 'fast,seed=0'):
    assert tiny_runs.lines(here / point) == tiny_runs.lines(there / point)
  found = [
    json.loads((one / 'report' / 'report.json').read_text()) for one in (here, there)
  ]
  assert without_clock(found[0]) == without_clock(found[1])
  assert found[1]['figures'] == ['curves'] and 'bad' in found[1]['figures_left_out']
  for name in ('curves.svg', 'curves.png'):
    one, other = ((at / 'report' / name).read_bytes() for at in (here, there))
    assert one == other
  assert 'curves' in (there / 'report' / 'report.html').read_text()
  logged = [(one / 'verdicts.jsonl').read_text().splitlines() for one in (here, there)]
  assert len(logged[0]) == len(logged[1]) == 1
  assert cli.main(['diff', str(there / 'slow,seed=0'), str(here / 'slow,seed=0')]) == 0
  assert 'every bit' in capsys.readouterr().out


@pytest.mark.extra
def test_the_report_of_a_run_in_a_bucket_lies_beside_it(bucket, task_runs, capsys):
  pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
  url = f'{bucket[0]}/run'
  objects.upload(task_runs / 'a', url)
  assert cli.main(['report', f'--workdir={url}']) == 0
  assert f'written to {url}/report.html' in capsys.readouterr().out
  html = (place(url) / 'report.html').read_text()
  assert (
    'Set test' in html and 'majority class' in html and 'class="missing"' not in html
  )
  assert (place(url) / 'baselines.json').exists()
  assert cli.main(['checkpoint', 'average', f'--workdir={url}', '--last=1',
                   f'--out={bucket[0]}/mean']) == 0  # fmt: skip
  assert cli.main(['eval', f'--workdir={bucket[0]}/mean']) == 0
