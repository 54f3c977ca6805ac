"""`gpt-jax recommend`: train, evaluate, ask; and mistakes, one message each."""

import json

import pytest

from gpt_jax import cli
from tests.recommend import films


@pytest.mark.slow
def test_a_recommender_is_trained_judged_and_asked(task_runs, tmp_path, capsys):
  data, out = films.write(tmp_path / 'films'), tmp_path / 'out'
  flags = ['recommend', 'train', f'--data={data}', f'--out={out}', '--seeds=2']
  small = [
    '--likes_learned=24',
    '--config.train.batch_size=16',
    '--config.data.seq_len=48',
  ]
  assert cli.main([*flags, *small, f'--init_from={task_runs / "a"}']) == 0
  ask = ['recommend', 'evaluate', f'--out={out}', '--users=8', '--candidates=6']
  assert cli.main([*ask, '--json']) == 0
  text = capsys.readouterr().out
  found = json.loads(text.splitlines()[-1])
  assert 'text model and candidates is' in text
  methods = found['groups']['known users']['methods']
  assert len(methods) == 7 and found['chosen'] in methods
  assert len(found['groups']['known users']['per_user']['text model']) == 8
  assert (out / 'figure.png').exists()
  # People like one genre here: co-occurrence has to find it.
  assert methods['co-occurrence']['ndcg_at_10'] > methods['popularity']['ndcg_at_10']

  for who in (['--user=7'], ['--likes=comedy, part 1 (1981)']):
    for method in ('co-occurrence', 'text model'):
      argv = ['recommend', 'for', f'--out={out}', *who, '--top=3', f'--method={method}']
      assert cli.main([*argv, '--json']) == 0
      asked = json.loads(capsys.readouterr().out.splitlines()[-1])
      assert asked['method'] == method and len(asked['titles']) == 3
  mistakes = {
    '--likes=Comedy, part 1': "did you mean 'Comedy, part 1 (1981)'",
    '--user=99': 'no such user',
    '--top=99': 'give --user=ID or --likes',
  }
  for flag, expected in mistakes.items():
    assert cli.main(['recommend', 'for', f'--out={out}', flag]) in (2, 3)
    assert expected in capsys.readouterr().err
  argv = ['recommend', 'for', f'--out={out}', '--user=7', '--top=99']
  assert cli.main(argv) == 2
  assert '--top=99: expected 1 to 31' in capsys.readouterr().err


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    (['train'], 2, '--data is missing'),
    (['train', '--data=none', '--init_from=x'], 3, 'none'),
    (['train', '--data=none', '--init_from=x', '--seeds=0'], 2, '--seeds=0'),
    (['evaluate'], 3, 'holds no recommender'),
    (['evaluate', '--users=0'], 2, '--users=0'),
    (['evaluate', '--config.seed=1'], 2, '--config.seed'),
    (['for', '--user=1', '--likes=a'], 2, 'give --user=ID or --likes'),
    (['for', '--user=1'], 3, 'holds no recommender'),
  ],
)
def test_mistakes_are_one_message(tmp_path, flags, code, expected, capsys):
  assert cli.main(['recommend', *flags, f'--out={tmp_path}']) == code
  error = capsys.readouterr().err
  assert expected in error and 'Traceback' not in error
