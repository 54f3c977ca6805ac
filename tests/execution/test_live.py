"""What a sweep shows: lines where there is no terminal, else a table."""

import io

import pytest
import rich.console

from gpt_jax.execution import attempt, live, runner
from gpt_jax.sweeps import states
from gpt_jax.tracking.metrics_file import MetricsFile
from gpt_jax.workdir.paths import Workdir
from tests.sweeps import studies


@pytest.fixture
def study(tmp_path):
  return studies.study(tmp_path, rows="{'a': {}, 'b': {'model.d_ff': 8}}")


def test_lines_say_what_starts_ends_and_why_it_failed(study):
  out = io.StringIO()
  progress = runner.begin(study.points)
  with live.Display(study, progress, rich.console.Console(file=out, width=80)) as show:
    show.started(study.points[0])
    progress.failed['a,seed=0'] = attempt.Attempt(states.FAILED, 'why', 6)
    show.ended(study.points[0], progress.failed['a,seed=0'])
  text = out.getvalue()
  assert '[0/2] start   a,seed=0' in text
  assert 'failed  a,seed=0' in text and 'why' in text


def test_a_terminal_shows_a_table_of_what_is_at_work(study):
  out = io.StringIO()
  terminal = rich.console.Console(file=out, width=100, force_terminal=True)
  progress = runner.begin(study.points)
  a, b = study.points
  show = live.Display(study, progress, terminal, clock=lambda: 7.0)
  for point, where in ((a, progress.running), (b, progress.elsewhere)):
    file = MetricsFile(Workdir(point.workdir).metrics)
    file.write(2, {'train/loss': 1.25}, tokens=0, time=5.0)
    file.close()
    where[point.name] = point
  terminal.print(show.table())
  text = out.getvalue()
  assert 'a,seed=0' in text and 'b,seed=0 (elsewhere)' in text
  assert 'step 2/4' in text and 'loss 1.2500' in text
  assert '1 running' in text and '0 done' in text and 'eta' in text
