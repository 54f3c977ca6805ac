"""Mistakes of the command line: each gets the words that would have been right."""

import pytest

from gpt_jax import cli


@pytest.mark.parametrize(
  'command, meant',
  [
    ('train --config=tiny --steps=5', '--config.train.steps=5'),
    ('train --config=tiny --steps 5', '--config.train.steps'),
    ('train --config=tiny --train.steps=5', '--config.train.steps=5'),
    ('train --learning-rate=1e-3', '--config.optimizer.learning_rate=1e-3'),
    (
      'eval --batch_size=3',
      '--config.train.batch_size=3 or --config.eval.batch_size=3',
    ),
    (
      'train --temperature=1',
      '--config.distill.temperature=1 or --config.inference.temperature=1',
    ),
    ('train --config=tiny --config.steps=5', 'train.steps'),
    ('train --work-dir=x', '--workdir'),
    ('train tiny --workdir=x', '--config=tiny'),
    ('train configs/tiny.py', '--config=configs/tiny.py'),
    ('plan gpt2:124m --topology=v5e:4', '--config=gpt2:124m'),
    ('configs/tiny.py', 'train --config=configs/tiny.py'),
    ('generate runs/some', '--workdir=runs/some'),
    ('generate --workdir=x Once', '--prompt=Once'),
  ],
)
def test_what_was_meant_is_said(command, meant, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  argv = command.split()
  if argv[0] == 'train' and '--config.steps=5' in argv:
    argv.append('--workdir=x')
  assert cli.main(argv) == 2
  assert f'did you mean {meant}?' in capsys.readouterr().err
  assert not list(tmp_path.iterdir())


def test_values_and_actions_are_no_stray_words(capsys):
  for argv in (
    ['checkpoint', 'ls', '--workdir', 'no/such'],
    ['eval', '--workdir', 'no/such', '--step', '3', '--baselines'],
    ['generate', '--prompt', 'tiny', '--workdir', 'no/such'],
  ):
    assert cli.main(argv) == 4
    assert 'did you mean' not in capsys.readouterr().err
