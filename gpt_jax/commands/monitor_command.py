"""Watches a stream of texts: topic and sentiment, trends, alerts, a report.

Lines of JSON with `text` and, as known, `time` (ISO 8601, or seconds since 1970; else
the time of arrival), `source` and `id` (an id is counted once) come from --input=FILE
(--follow: a file that grows), --input=- (standard input) or POST /events on --port. The
run --sentiment says what is negative, --topic what a text is about. Texts are counted
in buckets of time; once a bucket is complete the negative share of each topic is judged
by a control chart whose false alarms a day are given. --state keeps it all:
alerts.jsonl, points.jsonl, report.html, and where to go on. Started again with the same
flags a monitor continues, whatever ended it; no line is counted twice.

examples:
  gpt-jax monitor --sentiment=runs/sst2 --negative=0 --topic=runs/news \\
      --input=texts.jsonl --state=runs/monitor
  gpt-jax monitor --sentiment=runs/sst2 --negative=0 --input=feed.jsonl --follow \\
      --state=runs/monitor --alert_command="mail -s alert me"
  gpt-jax monitor --sentiment=runs/sst2 --negative=0 --port=8800 --state=runs/monitor
"""

import contextlib
import json
import pathlib
import signal
import sys

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, DataError, Interrupted

REPORT_SECONDS = 10.0
"""Between two pages while texts keep coming."""


def add_arguments(parser):
  parser.add_argument('--sentiment', required=True, metavar='RUN', help='a workdir')
  parser.add_argument('--topic', metavar='RUN', help='default: one topic, all texts')
  parser.add_argument(
    '--negative', metavar='NAME', help='class of --sentiment; default: negative or neg'
  )
  parser.add_argument(
    '--state', required=True, type=flags.local_path, metavar='DIR', help='its folder'
  )
  group = parser.add_argument_group('the stream')
  group.add_argument('--input', metavar='FILE', help='JSON lines; - is standard input')
  group.add_argument('--follow', action='store_true', help='wait for more lines')
  group.add_argument(
    '--port', type=int, metavar='N', help='on 127.0.0.1; 0: a free one'
  )
  group = parser.add_argument_group('the charts; the same at each start')
  group.add_argument('--bucket', default='1h', metavar='TIME', help='default: 1h')
  group.add_argument(
    '--lateness', default='10m', metavar='TIME', help='texts come late by; default: 10m'
  )
  group.add_argument(
    '--baseline', type=int, default=48, metavar='N',
    help='buckets with texts from which a chart learns what is usual; default: 48',
  )  # fmt: skip
  group.add_argument(
    '--usual_share', type=float, metavar='P', help='given instead of learned'
  )
  group.add_argument(
    '--false_alarms', type=float, default=0.1, metavar='N',
    help='a day, over all charts, at most; default: 0.1',
  )  # fmt: skip
  group.add_argument(
    '--smoothing', type=float, default=0.2, metavar='L',
    help='weight of the newest bucket, 0 to 1; 1 is a p chart; default: 0.2',
  )  # fmt: skip
  group.add_argument(
    '--relearn', action='store_true', help='learn anew what is usual, from here on'
  )
  group.add_argument(
    '--close', action='store_true', help='judge buckets that are open at the end, too'
  )
  group = parser.add_argument_group('who is told')
  group.add_argument(
    '--alert_command',
    metavar='WORDS',
    help='run without a shell; the alert is its input',
  )
  group.add_argument('--alert_url', metavar='URL', help='the alert is posted to')
  group.add_argument(
    '--report', type=flags.local_path, metavar='FILE', help='default: STATE/report.html'
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  if bool(args.input) == (args.port is not None):
    raise ConfigError(
      'the stream: give --input=FILE (- for standard input) or --port=N.'
    )
  settings = _settings(args)  # mistakes show before models are loaded
  hooks = _hooks(args)
  flags.enable_compilation_cache()
  from gpt_jax.opinion.folder import Folder

  with Folder(args.state) as folder:
    code = _monitor(args, settings, hooks, folder)
  return code


def _settings(args):
  from gpt_jax.opinion import duration

  if args.baseline < 2:
    raise ConfigError(f'--baseline={args.baseline}: expected 2 or more buckets.')
  if not 0 < args.smoothing <= 1:
    raise ConfigError(f'--smoothing={args.smoothing:g}: expected 0 < smoothing <= 1.')
  if args.usual_share is not None and not 0 < args.usual_share < 1:
    raise ConfigError(f'--usual_share={args.usual_share:g}: expected 0 < share < 1.')
  bucket = duration.parse(args.bucket, '--bucket')
  most = 0.2 * 86_400 / bucket
  if not 0 < args.false_alarms <= most:
    raise ConfigError(
      f'--false_alarms={args.false_alarms:g}: expected more than 0 and at most'
      f' {most:g}, a fifth of the buckets of a day.'
    )
  return dict(
    bucket=bucket, lateness=duration.parse(args.lateness, '--lateness', lowest=0.0),
    smoothing=args.smoothing, false_alarms=args.false_alarms,
    baseline_buckets=args.baseline, usual_share=args.usual_share,
  )  # fmt: skip


def _hooks(args):
  from gpt_jax.opinion import hooks

  found = [hooks.command(args.alert_command)] if args.alert_command is not None else []
  return found + ([hooks.webhook(args.alert_url)] if args.alert_url else [])


def _monitor(args, settings, hooks, folder):
  from gpt_jax.opinion.heads import Heads
  from gpt_jax.opinion.monitor import Monitor, Settings
  from gpt_jax.opinion.service import Service
  from gpt_jax.safety.redaction import Redactor

  state = folder.load()
  source, begin = _source(args, folder, state)
  heads = Heads(args.sentiment, args.topic, args.negative)
  monitor = Monitor(Settings(topics=tuple(heads.topics), **settings), heads.rates)
  kept = settings | dict(topics=list(heads.topics), negative=heads.negative)
  if state is not None:
    _refuse_changes(args.state, state['settings'], kept)
    monitor.restore(state['monitor'])
  if args.relearn:
    monitor.relearn()
  redact = Redactor()
  service = Service(
    source, heads, monitor, folder, hooks=hooks, say=_say,
    redact=lambda text: redact.redact(text)[0],
  )  # fmt: skip
  service.settings, service.unsent = kept, state['unsent'] if state else []
  _say(_promise(monitor.settings))
  page = _Page(args, folder, monitor)
  with _stopping() as stop, begin(page.read) as is_live:
    service.run(is_live=is_live, stop=stop, on_judged=page.refresh, close=args.close)
  page.write()
  return _finish(args, monitor, page, stop())


def _source(args, folder, state):
  """Returns (source, context that begins to fill it and gives `is_live`).

  What fills it begins last: lines of a start that was refused would be counted by the
  next one.
  """
  from gpt_jax.opinion.journal import Journal
  from gpt_jax.opinion.sources import FileSource

  position = state and state['position']
  is_journal = args.port is not None or args.input == '-'
  if position and is_journal != ('segment' in position):
    raise ConfigError(
      f'--state={args.state}: this monitor read another kind of stream; begin in'
      ' another folder, or give the same --input or --port.'
    )
  if not is_journal:
    source = FileSource(args.input, position, follow=args.follow)
    return source, lambda page: contextlib.nullcontext(lambda: args.follow)
  journal = Journal(folder.path / 'journal', position)
  fill = _standard_input if args.port is None else _http
  return journal, lambda page: fill(args, journal, page)


@contextlib.contextmanager
def _standard_input(args, journal, page):
  from gpt_jax.opinion.standard_input import Reader

  yield Reader(journal).is_live


@contextlib.contextmanager
def _http(args, journal, page):
  from gpt_jax.opinion import inbox

  server = inbox.Server(inbox.make_app(journal, page), args.port)
  _say(f'POST JSON lines to http://{inbox.HOST}:{server.port}/events')
  try:
    yield lambda: True
  finally:
    server.stop()


def _refuse_changes(folder, old, new):
  changed = [name for name in new if old.get(name) != new[name]]
  if changed:
    listed = '; '.join(f'{name}: {old.get(name)!r} before, now {new[name]!r}'
                       for name in changed)  # fmt: skip
    raise ConfigError(
      f'--state={folder}: its charts were begun with other settings ({listed}); give'
      ' the same ones, or begin in another folder.'
    )


def _promise(settings):
  from gpt_jax.opinion import duration

  found = settings.promise
  return (
    f'{found.charts} chart{"s" * (found.charts != 1)}, buckets of'
    f' {duration.show(settings.bucket)}: at most {found.per_day:g} false alarms a day,'
    f' {found.alpha:.2g} in a bucket of a chart (run length'
    f' {found.run_length:,.0f} buckets)'
  )


class _Page:
  """The report, written anew now and then."""

  def __init__(self, args, folder, monitor):
    self.path = pathlib.Path(args.report or folder.path / 'report.html')
    self._args, self._folder, self._monitor = args, folder, monitor
    self._written = -REPORT_SECONDS

  def refresh(self):
    import time

    if time.monotonic() - self._written >= REPORT_SECONDS:
      self.write()
      self._written = time.monotonic()

  def write(self):
    from gpt_jax.reports import opinion_page

    args = self._args
    facts = {'Sentiment': args.sentiment, 'Topic': args.topic or 'none'}
    facts['Stream'] = args.input or f'HTTP, port {args.port}'
    logs = self._folder.read('points'), self._folder.read('alerts')
    opinion_page.write(self.path, self._monitor, *logs, facts)

  def read(self):
    return self.path.read_text(encoding='utf-8') if self.path.is_file() else ''


@contextlib.contextmanager
def _stopping():
  """Gives a function that says whether SIGTERM or Ctrl-C have come."""
  came = []
  former = {
    number: signal.signal(number, lambda *_: came.append(1))
    for number in (signal.SIGTERM, signal.SIGINT)
  }
  try:
    yield lambda: bool(came)
  finally:
    for number, handler in former.items():
      signal.signal(number, handler)


def _finish(args, monitor, page, was_stopped):
  counters = monitor.counters
  if not counters['events'] and not was_stopped:
    raise DataError(
      f'--input={args.input}: has no text: {counters["bad"]:,} bad lines'
      f' ({", ".join(monitor.bad) or "nothing else"}); expected JSON lines such as'
      ' {"time": "2026-01-31T12:00:00Z", "text": "...", "source": "..."}.'
    )
  said = ', '.join(f'{n:,} {name.replace("_", " ")}' for name, n in counters.items())
  _say(f'{said}; {page.path}')
  if args.json:
    open_alerts = [name for name, one in monitor.watches.items() if one.alert]
    found = dict(counters=counters, bad=dict(monitor.bad), open_alerts=open_alerts)
    print(json.dumps(found | dict(report=str(page.path))))
  if was_stopped:
    raise Interrupted('stopped, saved; the same command goes on from here.')


def _say(text):
  print(text, file=sys.stderr, flush=True)
