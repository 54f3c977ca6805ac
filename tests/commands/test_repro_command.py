"""`gpt-jax repro`: what is printed, one JSON object, exit code 0 or 7."""

import json

import pytest

from gpt_jax import cli
from tests.train.test_reproduce import LOSSES, again  # noqa: F401
from tests.train.test_run_diff import start, write_run

COMMAND = ['repro', '--commit=here', '--json']


def lines_of(capsys):
  return [' '.join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_reproduced_run_ends_with_0(again, tmp_path, capsys):  # noqa: F811
  run = write_run(tmp_path / 'run', LOSSES)
  again(LOSSES, start())
  assert cli.main([*COMMAND, str(run)]) == 0
  *shown, last = lines_of(capsys)
  assert shown[-1] == (
    'reproduced, equal in every bit: 1 metrics at 20 logged steps, 1 to 20'
  )
  assert '1 3 3 0 - - 0' in shown
  assert json.loads(last)['verdict'] == 'bitwise'


@pytest.mark.parametrize(
  'shift, code, says',
  [
    (3e-6, 0, 'reproduced within 1e-05 (float32), in every bit before step 8'),
    (0.5, 7, 'not reproduced: equal in every bit before step 8, beyond 1e-05'),
  ],
)
def test_other_losses_are_shown_from_where_they_begin(
  shift, code, says, again, tmp_path, capsys  # noqa: F811
):  # fmt: skip
  run = write_run(tmp_path / 'run', LOSSES)
  other = start(versions={'jax': '2'})
  again([loss + shift * (step >= 7) for step, loss in enumerate(LOSSES)], other)
  kept = tmp_path / 'kept'
  assert cli.main([*COMMAND, str(run), f'--workdir={kept}']) == code
  shown = lines_of(capsys)
  assert any(line.startswith(says) for line in shown), shown
  assert 'versions.jax 1 2' in shown
  assert 'the first step at which they part: 8' in shown
  assert (kept / 'metrics.jsonl').exists()


def test_a_folder_without_a_run_is_bad_input(tmp_path, capsys):
  assert cli.main([*COMMAND, str(tmp_path)]) == 4
  assert 'no run there that can be read' in capsys.readouterr().err
