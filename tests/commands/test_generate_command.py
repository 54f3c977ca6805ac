"""`gpt-jax generate`: text on the screen, the same for the same seed."""

import json

import pytest

from gpt_jax import cli

SHORT = ['--max_new_tokens=8', '--temperature=1']


def generate(run, capsys, *flags):
  """Returns what the command writes on the screen."""
  assert cli.main(['generate', f'--workdir={run}', *flags]) == 0
  return capsys.readouterr().out


def test_the_text_continues_the_prompt_and_depends_on_the_seed(finished_run, capsys):
  first = generate(finished_run, capsys, '--prompt=some words', *SHORT)
  assert first.startswith('some words')
  assert first.endswith('\n')
  assert first == generate(finished_run, capsys, '--prompt=some words', *SHORT)
  other = generate(finished_run, capsys, '--prompt=some words', '--seed=1', *SHORT)
  assert other != first


@pytest.mark.slow
def test_several_samples_have_consecutive_seeds(finished_run, capsys):
  flags = ['--prompt=ab', *SHORT]
  both = generate(finished_run, capsys, '--num_samples=2', '--seed=3', *flags)
  assert '--- sample 1 of 2, seed 3\n' in both
  second = generate(finished_run, capsys, '--seed=4', *flags)
  assert both.endswith(f'--- sample 2 of 2, seed 4\n{second}')


def test_greedy_text_has_no_seed(finished_run, capsys):
  flags = ['--prompt=ab', '--max_new_tokens=8', '--temperature=0']
  first = generate(finished_run, capsys, '--seed=1', *flags)
  assert first == generate(finished_run, capsys, '--seed=2', *flags)


def test_the_prompt_may_be_empty(finished_run, capsys):
  assert generate(finished_run, capsys, *SHORT)


@pytest.mark.slow
def test_on_several_devices_it_writes_the_same_and_says_where(finished_run, capsys):
  expected = generate(finished_run, capsys, '--prompt=some words', *SHORT)
  mesh = ['--config.parallel.mesh.tensor=2', '--config.parallel.mesh.fsdp=4']
  code = cli.main(
    ['generate', f'--workdir={finished_run}', '--prompt=some words', *SHORT, *mesh]
  )
  out, err = capsys.readouterr()
  assert (code, out) == (0, expected)
  line = err.splitlines()[0]
  assert line.endswith('of parameters on each of 8 devices (fsdp=4, tensor=2)')


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    (['--temperature=-1'], 2, 'temperature=-1.0'),
    (['--top_p=2'], 2, 'top_p=2.0'),
    (['--max_new_tokens=-3'], 2, 'max_new_tokens=-3'),
    (['--step=99'], 4, 'it holds steps [3, 6]'),
    (['--config.seed=3'], 2, 'seed: the run was trained with it'),
    (['--num_samples=0'], 2, '--num_samples=0: expected at least 1'),
    (['--n=1000000000'], 2, 'n=1000000000: expected a number from 1 to'),
    (['--stop='], 2, "stop='': expected texts of at least one character"),
    (['--beams=4', '--temperature=1'], 2, 'beam search draws nothing'),
    (['--best_of=2', '--n=3'], 2, 'best_of=2: expected at least n=3'),
    (['--typical_p=nan'], 2, 'typical_p=nan: expected'),
    (['--logit_bias=999:1'], 2, 'logit_bias: the id 999 is not there'),
    (['--prompts_file=none.txt'], 3, '--prompts_file=none.txt: cannot be read'),
    (['--config.parallel.mesh.tensor=3'], 2, 'parallel.mesh: '),
  ],
)
def test_bad_input_ends_in_its_exit_code(flags, code, expected, finished_run, capsys):
  assert cli.main(['generate', f'--workdir={finished_run}', *flags]) == code
  text = capsys.readouterr().err
  assert expected in text
  assert 'Traceback' not in text


def test_a_folder_without_a_run_says_how_to_make_one(tmp_path, capsys):
  assert cli.main(['generate', f'--workdir={tmp_path / "none"}']) == 4
  assert 'gpt-jax train --config=configs/tiny.py' in capsys.readouterr().err


@pytest.mark.slow
def test_json_has_all_texts_of_all_prompts(finished_run, tmp_path, capsys):
  prompts = tmp_path / 'prompts.txt'
  prompts.write_text('some words\nab\n')
  flags = [f'--prompts_file={prompts}', '--json', '--n=2', '--logprobs=2', *SHORT]
  found = json.loads(generate(finished_run, capsys, *flags).splitlines()[-1])
  assert found['step'] == 6
  texts = found['completions']
  assert [each['prompt'] for each in texts] == ['some words'] * 2 + ['ab'] * 2
  assert [each['seed'] for each in texts] == [0, 1, 0, 1]
  alone = generate(finished_run, capsys, '--prompt=ab', '--seed=1', *SHORT)
  assert alone == 'ab' + texts[3]['text'] + '\n'
  assert len(texts[0]['logprobs'][0]['top']) == 2


@pytest.mark.slow
def test_options_reach_the_text(finished_run, capsys):
  plain = generate(finished_run, capsys, '--prompt=ab', *SHORT)
  stopped = generate(
    finished_run, capsys, '--prompt=ab', f'--stop={plain[4:6]}', *SHORT
  )
  assert stopped == plain[: plain.index(plain[4:6], 2)] + '\n'
  banned = generate(finished_run, capsys, '--prompt=ab', f'--banned={plain[3]}', *SHORT)
  assert plain[3] not in banned[2:-1]
  biased = generate(finished_run, capsys, '--logit_bias=97:100', *SHORT)
  assert biased == 'a' * 8 + '\n'
  best = generate(finished_run, capsys, '--best_of=3', '--logprobs=1', *SHORT)
  assert best.startswith('--- text 1 of 1, seed ') and ', score -' in best


@pytest.mark.slow
def test_a_file_of_records_has_their_prompts(finished_run, tmp_path, capsys):
  records = tmp_path / 'prompts.jsonl'
  records.write_text('{"prompt": "ab"}\n\n{"text": "x"}\n')
  argv = ['generate', f'--workdir={finished_run}', f'--prompts_file={records}']
  assert cli.main(argv) == 3
  assert 'line 3: expected a record with the text "prompt"' in capsys.readouterr().err
  records.write_text('{"prompt": "ab"}\n')
  assert generate(finished_run, capsys, argv[-1], *SHORT).startswith('ab')


@pytest.mark.slow
def test_many_texts_are_written_to_a_file_in_order(finished_run, tmp_path, capsys):
  prompts, out = tmp_path / 'prompts.txt', tmp_path / 'out.jsonl'
  prompts.write_text(''.join(f'{word}\n' for word in ('ab', 'c', 'some', 'ab', 'd')))
  flags = [f'--prompts_file={prompts}', '--temperature=0', *SHORT]
  flags += ['--config.inference.slots=2']  # five texts take turns
  assert generate(finished_run, capsys, f'--out={out}', *flags) == ''
  records = [json.loads(line) for line in out.read_text().splitlines()]
  shown = generate(finished_run, capsys, *flags).splitlines()
  assert [each['prompt'] for each in records] == ['ab', 'c', 'some', 'ab', 'd']
  assert [each['prompt'] + each['text'] for each in records] == shown
  before = out.read_text()
  argv = ['generate', f'--workdir={finished_run}', f'--out={out}', flags[0]]
  assert cli.main([*argv, '--logit_bias=999999:1']) == 2
  assert out.read_text() == before  # a request that is refused replaces nothing
  argv = ['generate', f'--workdir={finished_run}', '--out=no/such/out.jsonl']
  assert cli.main(argv) == 5
  assert '--out=no/such/out.jsonl: no such folder' in capsys.readouterr().err
