"""A monitor at work on files: nothing counted twice, hooks told, bad lines counted."""

import json

import pytest

from gpt_jax.opinion.folder import Folder
from gpt_jax.opinion.monitor import Monitor
from gpt_jax.opinion.service import Service, describe
from gpt_jax.opinion.sources import FileSource
from tests.opinion import streams

STREAM = streams.lines(40, surge=range(25, 40))


class Killed(BaseException):
  """As SIGKILL: nothing handles it."""


def open_service(folder, path, hooks=(), heads=None, **options):
  """Returns (service, monitor) that continue what `folder` has."""
  state = folder.load()
  monitor = Monitor(streams.settings())
  if state:
    monitor.restore(state['monitor'])
  source = FileSource(path, state and state['position'])
  service = Service(
    source, heads or streams.Heads(), monitor, folder, hooks=hooks,
    say=options.pop('say', lambda text: None), **options,
  )  # fmt: skip
  service.unsent = state['unsent'] if state else []
  return service, monitor


def finish(service):
  service.run(is_live=lambda: False, stop=lambda: False, close=True)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  found = tmp_path_factory.mktemp('stream') / 'stream.jsonl'
  found.write_text('\n'.join([*STREAM, 'no json', '{"text": ""}']) + '\n')
  return found


@pytest.fixture(scope='module')
def whole(path, tmp_path_factory):
  """Returns (counters, points, alerts) of a monitor that nothing disturbed."""
  with Folder(tmp_path_factory.mktemp('whole')) as folder:
    service, monitor = open_service(folder, path)
    finish(service)
    return monitor.counters, folder.read('points'), folder.read('alerts')


def test_every_line_is_counted_and_bad_ones_by_reason(whole):
  counters, points, alerts = whole
  assert (counters['events'], counters['bad']) == (len(STREAM), 2)
  assert sum(one['total'] for one in points if one['chart'] == 'all texts') == 1600
  assert alerts[0]['event'] == 'opened'


@pytest.mark.parametrize('moment', ['in_heads', 'before_state', 'after_state'])
def test_a_killed_monitor_counts_nothing_twice(
  path, tmp_path, whole, moment, monkeypatch
):
  for batch in range(1, 5):  # killed once in each of several starts
    with Folder(tmp_path / 'killed') as folder, monkeypatch.context() as patch:
      heads = streams.Heads()
      service, _ = open_service(folder, path, heads=heads)
      _kill(patch, moment, folder, heads, batch % 3 + 1)
      with pytest.raises(Killed):
        finish(service)
  with Folder(tmp_path / 'killed') as folder:
    service, monitor = open_service(folder, path)
    finish(service)
    assert monitor.counters == whole[0]
    assert (folder.read('points'), folder.read('alerts')) == whole[1:]


def _kill(patch, moment, folder, heads, count):
  from gpt_jax.workdir import files

  left = [count]

  def then_killed(call, after):
    def run(*args):
      left[0] -= 1
      if left[0] <= 0 and not after:
        raise Killed
      found = call(*args)
      if left[0] <= 0:
        raise Killed
      return found

    return run

  if moment == 'in_heads':
    patch.setattr(heads, 'judge', then_killed(heads.judge, False))
  elif moment == 'before_state':  # the logs are longer than the state knows
    patch.setattr(files, 'write_text', then_killed(files.write_text, False))
  else:
    patch.setattr(folder, 'commit', then_killed(folder.commit, True))


def test_alerts_that_could_not_be_told_are_told_later(path, tmp_path, whole):
  told, said, broken = [], [], [True]

  def send(alert):
    if broken[0]:
      return 'no network'
    told.append(alert['id'])
    return ''

  with Folder(tmp_path / 'hooks') as folder:
    service, _ = open_service(folder, path, [send], say=said.append)
    finish(service)
    assert told == [] and 'no network' in ' '.join(said)
  broken[0] = False
  with Folder(tmp_path / 'hooks') as folder:
    service, _ = open_service(folder, path, [send])
    service.idle()
    assert told == [one['id'] for one in whole[2]]
    assert folder.load()['unsent'] == []


def test_quiet_hours_complete_a_bucket(tmp_path):
  path = tmp_path / 'quiet.jsonl'
  now = [streams.START + 0.5 * streams.HOUR]
  path.write_text(STREAM[0] + '\n')
  with Folder(tmp_path / 'quiet') as folder:
    service, monitor = open_service(folder, path, clock=lambda: now[0])
    assert service.step()
    service.idle()
    assert folder.read('points') == []
    now[0] += 3 * streams.HOUR
    service.idle()
    assert len(folder.read('points')) == 2 and not monitor.open


def test_a_followed_stream_works_until_it_is_stopped(path, tmp_path):
  with Folder(tmp_path / 'live') as folder:
    service, monitor = open_service(folder, path)
    waits = []
    service.run(is_live=lambda: True, stop=lambda: len(waits) > 2, sleep=waits.append)
    assert monitor.counters['events'] == len(STREAM)


def test_an_alert_is_one_line_that_says_all(whole):
  line = describe(whole[2][0])
  assert 'ALERT b: negative share' in line or 'ALERT all texts' in line
  assert 'above the limit' in line and '\n' not in line
  closed = whole[2][0] | {'event': 'closed'}
  assert 'back inside its limits' in describe(closed)
  assert json.dumps(closed)
