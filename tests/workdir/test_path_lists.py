"""Lists of paths, of which some have commas in their names."""

from gpt_jax.workdir import path_lists


def test_commas_divide_paths():
  assert path_lists.split('runs/a, gs://bucket/b') == ['runs/a', 'gs://bucket/b']
  assert path_lists.split('runs/a') == ['runs/a']


def test_what_is_there_keeps_its_commas(tmp_path):
  runs = [tmp_path / 'LoRA 1,seed=1', tmp_path / 'LoRA 1,seed=2']
  for run in runs:
    run.mkdir()
  text = f'{runs[0]},{runs[1]},{tmp_path / "none"}'
  assert path_lists.split(text) == [str(each) for each in (*runs, tmp_path / 'none')]


def test_a_path_may_have_a_name_before_it(tmp_path):
  (tmp_path / 'a,seed=1').mkdir()
  text = f'one={tmp_path}/a,seed=1,two=runs/b'
  found = path_lists.split(text, lambda part: part.partition('=')[2])
  assert found == [f'one={tmp_path}/a,seed=1', 'two=runs/b']
