"""Tables as text: aligned Markdown, plain numbers in CSV, escaped LaTeX."""

import csv
import dataclasses
import io
import math
import re

import pytest

from gpt_jax.analysis.results import Results
from gpt_jax.analysis.seed_statistics import Comparison, Summary
from gpt_jax.reports import table_formats, tables
from gpt_jax.sweeps import algebra
from tests.sweeps import fake_study

NASTY = 'a_b & 50% | $x^2$ {y} ~ \\z #1'


@pytest.fixture(scope='module')
def table(tmp_path_factory):
  study = fake_study.make(
    tmp_path_factory.mktemp('formats'),
    lambda p: None if p.name.endswith('seed=2') else 1.0 + 0.125 * p.axes['seed'],
    rows={'base': {}, NASTY: {'optimizer.weight_decay': 0.5}},
    sweep=algebra.vary('optimizer.learning_rate', 0.001, 0.01),
  )
  return tables.make_table(study, Results(study))


def test_markdown_has_aligned_columns_and_says_what_it_shows(table):
  text = table_formats.markdown(table)
  lines = [line for line in text.splitlines() if line.startswith('|')]
  assert len({len(line) for line in lines}) == 1
  assert len({len(re.findall(r'(?<!\\)\|', line)) for line in lines}) == 1
  assert '1.062 ± 0.088 (2 of 3 seeds)' in lines[2]
  assert lines[2].split('|')[2].strip() == '0.001'
  assert 'paired t-test' in text


def test_csv_has_the_numbers_in_full(table):
  rows = list(csv.DictReader(io.StringIO(table_formats.comma_separated(table))))
  assert len(rows) == 4
  assert rows[2]['row'] == NASTY
  assert float(rows[0]['validation/loss']) == 1.0625
  assert float(rows[0]['validation/loss (spread)']) == pytest.approx(0.125 / 2**0.5)
  assert rows[0]['difference'] == ''
  assert float(rows[2]['difference']) == 0.0
  assert (rows[0]['seeds finished'], rows[0]['seeds wanted']) == ('2', '3')


def test_latex_is_escaped_and_every_row_has_all_cells(table):
  text = table_formats.latex(table, caption='50% & more', label='tab')
  assert r'\caption{50\% \& more}' in text
  assert r'a\_b \& 50\% | \$x\textasciicircum{}2\$ \{y\}' in text
  body = text.split('\\toprule')[1].split('\\bottomrule')[0]
  rows = [line for line in body.splitlines() if line.endswith(r'\\')]
  columns = re.search(r'tabular}{(\w+)}', text)[1]
  assert len(rows) == 5
  assert {len(re.findall(r'(?<!\\)&', row)) for row in rows} == {len(columns) - 1}
  assert text.count('{') == text.count('}')
  assert text.isascii()


def test_the_best_lines_follow_as_a_second_table(table):
  best = dataclasses.replace(table, lines=table.lines[:2])
  both = dataclasses.replace(table, best=best)
  text = table_formats.markdown(both)
  assert text.startswith(table_formats.markdown(table))
  assert text.endswith(f'own best:\n\n{table_formats.markdown(best)}')
  assert table_formats.latex(both, 'A', 'a').count(r'\toprule') == 2


@pytest.mark.parametrize(
  'summary, expected',
  [
    (Summary({0: 1.0, 1: 1.25}, 2), '1.125 ± 0.177'),
    (Summary({0: 1.0}, 1), '1.000'),
    (Summary({0: 1.0}, 3), '1.000 (1 of 3 seeds)'),
    (Summary({}, 3), '–'),
    (Summary({0: math.inf, 1: 1.0}, 2), 'diverged'),
    (Summary({0: 1.0, 1: 1.0}, 2), '1.000'),
    (Summary({0: 12345.0}, 1), '12,345.000'),
  ],
)
def test_a_cell_says_how_many_seeds_it_is_over(summary, expected):
  assert table_formats.summary_text(summary, 3) == expected


@pytest.mark.parametrize(
  'p_value, expected', [(0.0002, '<0.001'), (0.04567, '0.046'), (math.nan, '–')]
)
def test_p_values_have_two_digits(p_value, expected):
  assert table_formats.p_text(Comparison(0.1, p_value, 3)) == expected
