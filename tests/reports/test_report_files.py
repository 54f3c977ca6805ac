"""The files of a report, and what it says on the terminal."""

import json

import pytest

from gpt_jax.analysis import verdict_log
from gpt_jax.core.errors import StorageError
from gpt_jax.reports import page_text, report_files
from gpt_jax.reports.report import make_report
from gpt_jax.sweeps import Figure, algebra, states
from tests.reports.test_report import CLAIM, loss_of
from tests.sweeps import fake_study


@pytest.fixture(scope='module')
def report(tmp_path_factory):
  folder = tmp_path_factory.mktemp('files')
  return make_report(fake_study.make(folder, loss_of, claims=(CLAIM,)))


def test_all_files_are_written_beside_the_runs(report):
  folder = report_files.write(report)
  assert folder == report.study.folder / 'report'
  names = {path.name for path in folder.iterdir()}
  assert {'report.md', 'report.json', 'table.csv', 'table.tex'} <= names
  text = (folder / 'report.md').read_text()
  assert '**reproduced**: *lower*' in text
  assert '- ours: optimizer.weight_decay 0.1 -> 0.5' in text
  saved = json.loads((folder / 'report.json').read_text())
  assert saved['verdicts'][0]['numbers'] == {'difference': pytest.approx(0.5)}
  assert saved['table'][1]['metrics']['validation/loss']['seeds'] == {
    '0': 1.5, '1': 1.6, '2': 1.7,
  }  # fmt: skip


def test_a_folder_that_cannot_be_written_is_told(report):
  with pytest.raises(StorageError, match='cannot write in /proc'):
    report_files.write(report, '/proc/nowhere')


def test_the_terminal_shows_table_and_verdicts(report, capsys):
  report_files.show(report)
  out = capsys.readouterr().out
  assert '| ours |' in out
  assert '\nours: optimizer.weight_decay 0.1 -> 0.5\n' in out
  assert 'reproduced: lower' in out
  assert 'difference: 0.5' in out
  assert '6 of 6 points finished; 1:00 of wall time' in out


def test_old_verdicts_are_shown(report):
  verdict_log.record(report.study, report.verdicts)
  (entry,) = verdict_log.read(report.study.folder)
  text = page_text.earlier(entry)
  assert text.startswith('lower, version 1: reproduced (2')
  assert text.endswith('; difference: 0.5)')


def test_a_report_of_nothing_is_written_as_well(tmp_path):
  study = fake_study.make(tmp_path, claims=(CLAIM,))
  states.write_failure(study.points[0], 'the disk is full', exit_code=5)
  report = make_report(study)
  assert '0 of 6 points finished (1 failed, 5 missing)' in (
    report_files.progress_text(report)
  )
  folder = report_files.write(report, tmp_path / 'out')
  assert '- base,seed=0: failed (the disk is full)' in (
    (folder / 'report.md').read_text()
  )
  assert 'not enough data' in (folder / 'report.md').read_text()


def test_points_that_have_diverged_are_named(tmp_path):
  study = fake_study.make(tmp_path, loss_of, claims=(CLAIM,))
  fake_study.diverge(study.points[0])
  report = make_report(study)
  assert report.verdicts[0].numbers == {'difference': 'inf'}
  assert 'diverged: base,seed=0;' in report_files.progress_text(report)
  text = (report_files.write(report) / 'report.md').read_text()
  assert ' diverged |' in text


def test_the_best_of_each_row_is_in_all_formats(tmp_path):
  study = fake_study.make(
    tmp_path,
    lambda p: loss_of(p) + p.axes['optimizer.learning_rate'],
    sweep=algebra.vary('optimizer.learning_rate', 0.01, 0.1),
    at_best=('optimizer.learning_rate',),
  )
  folder = report_files.write(make_report(study))
  for name in ('report.md', 'report.html', 'table.tex'):
    assert 'Each row at its own best' in (folder / name).read_text()
  best = json.loads((folder / 'report.json').read_text())['best']
  assert [line['axes'] for line in best] == [{'optimizer.learning_rate': 0.01}] * 2


@pytest.mark.slow
def test_a_figure_that_fails_is_a_note_in_its_place(tmp_path, capsys):
  wrong = Figure('wrong', 'Wrong', y='validation/losss')
  study = fake_study.make(tmp_path, loss_of, figures=(wrong, Figure('right', 'Right')))
  folder = report_files.write(make_report(study))
  assert "figure 'wrong'" in capsys.readouterr().err
  assert (folder / 'right.svg').exists() and not (folder / 'wrong.svg').exists()
  for name in ('report.md', 'report.html'):
    text = (folder / name).read_text()
    assert 'Wrong: this figure could not be drawn' in text
    assert str(study.path) not in text.split('`gpt-jax sweep')[0]
  saved = json.loads((folder / 'report.json').read_text())
  assert saved['figures'] == ['right'] and list(saved['figures_left_out']) == ['wrong']
