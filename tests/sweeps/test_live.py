"""What a sweep shows, in lines where there is no terminal."""

import io

import rich.console

from gpt_jax.sweeps import attempt, live, runner, states
from tests.sweeps import studies


def test_lines_say_what_starts_ends_and_why_it_failed(tmp_path):
  study = studies.study(tmp_path, rows="{'a': {}, 'b': {'model.d_ff': 8}}")
  out = io.StringIO()
  progress = runner.begin(study.points)
  with live.Display(progress, rich.console.Console(file=out, width=80)) as show:
    show.started(study.points[0])
    progress.failed['a,seed=0'] = attempt.Outcome(states.FAILED, 'why', 6)
    show.ended(study.points[0], progress.failed['a,seed=0'])
  text = out.getvalue()
  assert 'start  a,seed=0' in text and 'failed  a,seed=0' in text and 'why' in text
