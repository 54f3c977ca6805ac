"""One HTML page of a report: a file that opens offline, in light and in dark."""

import collections
import functools
import json
import pathlib
import re

from gpt_jax.plots import palette
from gpt_jax.reports import page_text, table_formats
from gpt_jax.sweeps.experiment import EVIDENCE, KINDS
from gpt_jax.workdir import files

TEMPLATES = pathlib.Path(__file__).parent


def save(report, drawn, path):
  """Writes the page of a Report with its figures (`figures.Drawn`); returns `path`."""
  files.write_text(path, render(report, drawn))
  return path


def render(report, drawn):
  """Returns the HTML of the page; all that comes from the study is escaped."""
  template = environment(
    css=lambda verdict: verdict.replace(' ', '-'),
    mark=page_text.MARKS.__getitem__,
    duration=page_text.duration,
    number=page_text.number,
    value=json.dumps,
    history=functools.partial(page_text.history, report),
    earlier=page_text.earlier,
    left_out=functools.partial(page_text.left_out, report),
  ).get_template('page.html.jinja')
  counts = collections.Counter(verdict.verdict for verdict in report.verdicts)
  return template.render(
    report=report,
    counts=[(name, counts[name]) for name in page_text.MARKS if counts[name]],
    num_finished=report.num_points - len(report.missing),
    question=page_text.paragraphs(report.question),
    figures=[(one, None if one.problem else inline_svg(one)) for one in drawn],
    tables=[
      table_formats.grid(table) for table in (report.table, report.table.best) if table
    ],
    best=table_formats.BEST.removesuffix(':'),
    base=report.study.experiment.base,
    commands='\n'.join(page_text.commands(report)),
    facts=page_text.facts(report),
    kinds=KINDS,
    evidence=EVIDENCE,
  )


def environment(**filters):
  """Returns the jinja2 environment of pages: it escapes, and knows their colours."""
  import jinja2

  made = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
  )
  made.filters |= {'prose': prose} | filters
  made.globals |= dict(
    light=palette.variables(dark=False), dark=palette.variables(dark=True)
  )
  return made


def prose(text):
  """Returns `text` escaped, with what stands between backticks as code."""
  import markupsafe

  parts = [markupsafe.escape(part) for part in text.split('`')]
  parts[1:-1:2] = [
    markupsafe.Markup('<code>') + part + markupsafe.Markup('</code>')
    for part in parts[1:-1:2]
  ]
  return markupsafe.Markup('').join(parts)


def inline_svg(drawn):
  """Returns the SVG of a figure as a part of a page, in the colours of its theme."""
  import markupsafe

  text = drawn.svg.read_text(encoding='utf-8')
  text = text[text.index('<svg') :]
  text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
  text = re.sub(r'<style .*?</style>', '', text, flags=re.DOTALL)  # it is the page's
  text = re.sub(r' xmlns(:\w+)?="[^"]*"', '', text).replace('xlink:href', 'href')
  # Several figures on one page: each has ids of its own.
  prefix = re.sub(r'\W+', '-', drawn.name)
  text = re.sub(r'(\bid="|url\(#|href="#)', rf'\g<1>{prefix}-', text)
  label = markupsafe.escape(drawn.alt)
  text = re.sub(r' width="[^"]*"| height="[^"]*"', '', text, count=2)
  (width, *_) = map(float, re.findall(r'viewBox="0 0 ([\d.]+)', text))
  # Letters of 10.5 units are 9 to 14 pixels high: a wide figure scrolls on a phone.
  size = f'min-width:{0.88 * width:.0f}px;max-width:{1.34 * width:.0f}px'
  label = f'role="img" aria-label="{label}" style="{size}"'
  text = text.replace('<svg', f'<svg {label}', 1)
  return markupsafe.Markup(palette.with_variables(text))
