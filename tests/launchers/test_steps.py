"""Steps of a launcher: what is shown is what a shell would do."""

import subprocess

import pytest

from gpt_jax.core.errors import UserError
from gpt_jax.launchers import steps
from gpt_jax.launchers.steps import Call, Write

TEXT = "a $HOME 'b' `c`\nlast line"


def test_shown_steps_do_in_a_shell_what_is_taken(tmp_path):
  def plan(folder):
    path = tmp_path / folder / 'a file'
    return [Write(str(path), TEXT + '\n'), Call(('tee', f'{path}.copy'), TEXT)]

  for step in plan('taken'):
    steps.take(step)
  subprocess.run(
    ['bash', '-e'], input=steps.shown(plan('shown')), text=True, check=True
  )
  for name in ('a file', 'a file.copy'):
    taken, shown = ((tmp_path / f / name).read_text() for f in ('taken', 'shown'))
    assert taken.rstrip('\n') == shown.rstrip('\n') == TEXT


def test_a_failed_call_is_told_with_its_own_message():
  with pytest.raises(UserError, match='bash ended with exit code 4: no luck'):
    steps.take(Call(('bash', '-c', 'echo no luck >&2; exit 4')))
