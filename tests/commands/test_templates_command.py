"""`gpt-jax templates`: the names, and one of them shown."""

import pytest

from gpt_jax import cli
from gpt_jax.templates import jinja_chat, prompts

NAMES = [each.name for each in prompts.list_templates()]


def test_all_templates_are_listed(capsys):
  assert cli.main(['templates']) == 0
  out = capsys.readouterr().out
  assert [name for name in [*NAMES, *jinja_chat.BUILT_IN] if name not in out] == []


@pytest.mark.parametrize('name', NAMES)
def test_a_prompt_is_shown_on_an_example(name, capsys):
  assert cli.main(['templates', name]) == 0
  out = capsys.readouterr().out
  assert out.startswith('--- prompt\n') and '\n--- target\n' in out


@pytest.mark.parametrize('name', jinja_chat.BUILT_IN)
def test_a_chat_is_shown_with_its_loss(name, capsys):
  assert cli.main(['templates', name]) == 0
  lines = capsys.readouterr().out.splitlines()
  learned = [line for line in lines if line.split()[:1] == ['yes']]
  assert 'Air scatters blue light' in learned[0]
  assert not any('sunset' in line for line in learned)


def test_an_unknown_name_is_met_with_the_nearest(capsys):
  assert cli.main(['templates', 'chatlm']) == 2
  assert "did you mean 'chatml'?" in capsys.readouterr().err
