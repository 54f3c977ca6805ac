"""All studies: found, run cheapest first, their pages written."""

import pathlib

import pytest

from gpt_jax.reports import studies, study_pages
from tests.sweeps import fake_study

FILE = '''"""Does {name} help?"""

from gpt_jax.sweeps import Experiment, Size


def get_experiment():
  return Experiment(
    base='markov', sizes={{{size!r}: Size('two CPU cores', {minutes}, seeds=(0,))}}
  )
'''
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def experiments(tmp_path):
  folder = tmp_path / 'experiments'
  folder.mkdir()
  for name, minutes, size in (
    ('dear', 9, 'quick'),
    ('cheap', 2, 'quick'),
    ('big', 1, 'paper'),
  ):
    (folder / f'{name}.py').write_text(
      FILE.format(name=name, minutes=minutes, size=size)
    )
  (folder / 'words.py').write_text('"""No experiment."""\n')
  return folder


def test_studies_are_those_with_a_quick_size_cheapest_first(experiments):
  names = [path.stem for path in studies.experiment_files(experiments)]
  assert names == ['cheap', 'dear']
  assert [p.stem for p in studies.experiment_files(experiments, ['dear'])] == ['dear']


def test_pages_are_written_of_those_with_results(experiments, tmp_path, capsys):
  paths = studies.experiment_files(experiments)
  study = studies.points.open_study(paths[0], 'quick', tmp_path / 'runs')
  for point in study.points:
    fake_study.finish(point, {'validation': {'loss': 1.0}})
  out = tmp_path / 'docs'
  flags = [
    f'--experiments={experiments}',
    f'--workdir={tmp_path / "runs"}',
    f'--out={out}',
  ]
  assert studies.main(flags) == 0
  assert {path.name for path in out.iterdir() if path.is_file()} >= {'README.md'}
  assert 'experiments/dear.py' in (out / 'README.md').read_text()


def test_a_study_whose_points_have_changed_keeps_its_page(experiments, tmp_path):
  path, runs, out = experiments / 'cheap.py', tmp_path / 'runs', tmp_path / 'docs'
  for point in studies.points.open_study(path, 'quick', runs).points:
    fake_study.finish(point, {'validation': {'loss': 1.0}})
  changed = "'markov', overrides={'train.steps': 7},"
  path.write_text(path.read_text().replace("'markov',", changed))
  assert studies.build([path], out, runs) == []
  text = (out / 'cheap.md').read_text()
  assert '1 point ran with another config: ' in text and 'train.steps ' in text
  assert '- Commit: none yet: no point has finished' in text


def test_flags_that_are_not_its_own_go_to_the_sweep(experiments, monkeypatch, tmp_path):
  called = []

  def run(command, check):
    called.append(command[3:])
    return type('Done', (), {'returncode': 3 * ('dear' in str(command))})()

  monkeypatch.setattr(studies.subprocess, 'run', run)
  flags = [
    '--run',
    '--jobs=2',
    f'--experiments={experiments}',
    f'--out={tmp_path / "docs"}',
  ]
  assert studies.main([*flags, f'--workdir={tmp_path}']) == 1
  place = f'--workdir={tmp_path}'
  assert called == [
    ['sweep', str(experiments / 'cheap.py'), place, '--jobs=2'],
    ['sweep', str(experiments / 'dear.py'), place, '--jobs=2'],
  ]


def test_an_interrupted_sweep_ends_the_rest(experiments, monkeypatch, tmp_path):
  done = type('Done', (), {'returncode': 75})()
  monkeypatch.setattr(studies.subprocess, 'run', lambda command, check: done)
  with pytest.raises(SystemExit) as stopped:
    studies.run(studies.experiment_files(experiments), tmp_path)
  assert stopped.value.code == 75


def test_old_pages_are_named(experiments, tmp_path, capsys):
  page = tmp_path / 'dear.md'
  digest = study_pages.digest(experiments / 'dear.py')
  page.write_text(f'# x\n<!-- made from experiments/dear.py sha256:{digest} -->\n')
  flags = ['--check', f'--out={tmp_path}', f'--experiments={experiments}']
  assert studies.main(flags) == 0
  page.write_text('# x\n<!-- made from experiments/dear.py sha256:0123 -->\n')
  assert studies.main(flags) == 1
  assert 'dear.md: its experiment file has changed' in capsys.readouterr().out


def test_figures_of_the_repository_are_small():
  large = [
    path.name
    for path in (ROOT / 'docs' / 'studies').rglob('*.*g')
    if path.stat().st_size > study_pages.MAX_FIGURE_BYTES
  ]
  assert large == []
