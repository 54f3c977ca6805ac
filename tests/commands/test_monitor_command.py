"""`gpt-jax monitor`: a stream with a planted surge, by every way in, and mistakes."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

from gpt_jax import cli
from tests import task_runs as runs
from tests.tiny_runs import ROOT

BAD, GOOD = runs.LABELS[:2]
HOUR = 3600.0


def write_stream(path, hours=16, surge=range(10, 16), per_hour=25):
  rng, lines = np.random.default_rng(0), []
  for hour in range(hours):
    for minute in np.sort(rng.random(per_hour)):
      label = BAD if rng.random() < (0.9 if hour in surge else 0.15) else GOOD
      text = f'film {len(lines) % 40}: {" ".join(rng.choice(runs.WORDS[label], 3))}'
      text += ' me@example.org'
      event = dict(time=1.7e9 + (hour + minute) * HOUR, text=text, id=len(lines))
      lines.append(json.dumps(event))
  path.write_text('\n'.join([*lines, 'no json']) + '\n')
  return len(lines)


def flags_of(folder, name, **changes):
  """Returns the command line of a monitor in `tmp/name`."""
  found = dict(sentiment=folder / 'a', negative=BAD, state=name, baseline=6)
  found |= dict(lateness='1m', false_alarms=0.2) | changes
  return ['monitor', *(f'--{key}={value}' for key, value in found.items())]


def records(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope='module')
def stream(tmp_path_factory):
  path = tmp_path_factory.mktemp('texts') / 'stream.jsonl'
  return path, write_stream(path)


@pytest.mark.slow
def test_a_planted_surge_is_found_and_told(task_runs, stream, tmp_path, capsys):
  path, count = stream
  told = tmp_path / 'told.jsonl'
  hook = (
    f"{sys.executable} -c \"import sys; open('{told}', 'a').write(sys.stdin.read())\""
  )
  flags = flags_of(
    task_runs, tmp_path / 'm', input=path, topic=task_runs / 'b', alert_command=hook
  )
  assert cli.main([*flags, '--close', '--json']) == 0
  found = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert found['counters']['events'] == count and found['bad'] == {'not JSON': 1}
  assert 'all texts' in found['open_alerts']
  alerts = records(tmp_path / 'm' / 'alerts.jsonl')
  first = next(one for one in alerts if one['chart'] == 'all texts')
  assert first['since'] >= '2023-11-15T08' and first['side'] == 'above'
  assert told.read_text() == ''.join(json.dumps(one) for one in alerts)
  page = (tmp_path / 'm' / 'report.html').read_text()
  assert 'example.org' not in page and '[EMAIL]' in page
  assert '&lt;b&gt;bad&lt;/b&gt;' in page  # a topic
  assert BAD not in page and '<script>alert' not in page

  # Again: nothing is new; with other charts it is refused.
  assert cli.main([*flags, '--json']) == 0
  again = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert again['counters'] == found['counters']
  assert records(tmp_path / 'm' / 'alerts.jsonl') == alerts
  assert cli.main([*flags, '--bucket=2h']) == 2
  assert 'bucket: 3600.0 before, now 7200.0' in capsys.readouterr().err


@pytest.mark.slow
def test_http_survives_a_kill_and_counts_once(task_runs, stream, tmp_path):
  path, count = stream
  lines = path.read_text().splitlines()[:count]
  for round_, stop in enumerate((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)):
    process, url = _start(flags_of(task_runs, tmp_path / 'm', port=0))
    try:
      for i in range(round_ * 100, (round_ + 1) * 100, 20):
        body = '\n'.join(lines[i : i + 20])
        assert httpx.post(f'{url}/events', content=body).json()['accepted'] == 20
      if stop is signal.SIGTERM:
        _wait_for(tmp_path / 'm' / 'state.json', 300)
        assert httpx.get(url).text.startswith('<!doctype html>')
    finally:
      process.send_signal(stop)
      code = process.wait(60)
  assert code == 75
  state = json.loads((tmp_path / 'm' / 'state.json').read_text())
  assert state['monitor']['counters']['events'] == 300


def _start(flags):
  process = subprocess.Popen(
    [sys.executable, '-m', 'gpt_jax', *flags], cwd=ROOT, text=True,
    stderr=subprocess.PIPE, env=os.environ | {'PYTHONPATH': str(ROOT)},
  )  # fmt: skip
  for line in process.stderr:
    if line.startswith('POST'):
      return process, line.split()[-1].removesuffix('/events')
  raise AssertionError(f'it ended with {process.wait()}')


def _wait_for(path, events, seconds=60):
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    if path.exists():
      counted = json.loads(path.read_text())['monitor']['counters']['events']
      if counted == events:
        return
    time.sleep(0.2)
  raise AssertionError(f'{events} events were not counted')


@pytest.mark.parametrize(
  'changes, code, expected',
  [
    (dict(), 2, 'give --input=FILE'),
    (dict(input='x', port=1), 2, 'give --input=FILE'),
    (dict(input='none.jsonl'), 3, '--input=none.jsonl: no such file'),
    (dict(input='x', bucket='1 week'), 2, '--bucket=1 week'),
    (dict(input='x', false_alarms=50), 2, '--false_alarms=50: expected'),
    (dict(input='x', smoothing=2), 2, '--smoothing=2: expected'),
    (dict(input='x', usual_share=1), 2, '--usual_share=1: expected'),
    (dict(input='x', baseline=1), 2, '--baseline=1: expected'),
    (dict(input='x', alert_command='no-such-program'), 2, 'no such program'),
    (dict(input='x', alert_url='file:///x'), 2, 'expected http'),
  ],
)
def test_mistakes_are_one_message(tmp_path, changes, code, expected, capsys):
  assert cli.main(flags_of(tmp_path, tmp_path / 'm', **changes)) == code
  error = capsys.readouterr().err
  assert expected in error and 'Traceback' not in error


def test_a_stream_without_texts_is_an_error(task_runs, tmp_path, capsys):
  empty = tmp_path / 'empty.jsonl'
  empty.write_text('oh\n\n')
  assert cli.main(flags_of(task_runs, tmp_path / 'm', input=empty)) == 3
  assert 'has no text: 1 bad lines (not JSON)' in capsys.readouterr().err
