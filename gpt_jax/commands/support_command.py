"""Customer service: answers questions from a folder of documents, and cites them.

index      reads documents (.txt .md .html .jsonl, SQuAD's .json), cuts them into
           passages, and keeps them for search by words and, with --encoder, by vectors;
           called again it reads what has changed
ask        answers --question with the passage that it is from, or says that there is
           none. --workdir is a run that finds spans (task qa) or a language model;
           without one the answer is a sentence of the documents
chat       a conversation on the terminal, or with the lines of --script: fixed replies
           (--replies), questions that follow up, and a person who takes over when asked
           for, after two questions without an answer, or when --sentiment finds anger;
           that leaves a transcript in --transcripts
calibrate  chooses the threshold below which nothing is answered, on --questions that
           the documents answer and ones that they do not
evaluate   recall of search, exact match and F1 of answers, and the error rates of the
           threshold, on other --questions

examples:
  gpt-jax support index --documents=docs/applications/lamp_shop/pages --index=runs/help
  gpt-jax support ask --index=runs/help --question="What does postage cost?"
  gpt-jax support chat --index=runs/help \\
    --replies=docs/applications/lamp_shop/replies.yaml
  gpt-jax support calibrate --index=runs/help --questions=asked.jsonl
  gpt-jax support evaluate --index=runs/help --questions=asked.jsonl --json
"""

import json
import pathlib
import sys

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, DataError

NEEDS = {
  'index': ('documents',),
  'ask': ('question',),
  'chat': (),
  'calibrate': ('questions',),
  'evaluate': ('questions',),
}
"""Action -> flags that it cannot do without, besides --index."""


def add_arguments(parser):
  parser.add_argument('action', choices=tuple(NEEDS), help='see above')
  parser.add_argument(
    '--index', required=True, type=flags.local_path, metavar='DIR', help='its folder'
  )
  parser.add_argument(
    '--encoder',
    default='',
    metavar='RUN',
    help='makes vectors (BERT); after index: where it lies now, if it has moved',
  )
  flags.add_workdir(parser, 'the run that answers; default: none', required=False)
  parser.add_argument('--step', type=int, metavar='N', help='of --workdir')
  parser.add_argument(
    '--method', metavar='NAME', help='bm25, dense or fused; default: fused, if it can'
  )
  parser.add_argument(
    '--passages',
    type=int,
    metavar='N',
    help='that are read; default: 1 by a model, 5 without',
  )
  group = parser.add_argument_group('index')
  group.add_argument(
    '--documents', type=flags.local_path, metavar='DIR', help='a folder, or one file'
  )
  group.add_argument('--max_words', type=int, default=180, help='of a passage: 180')
  group.add_argument(
    '--overlap_words', type=int, default=40, help='that parts of a paragraph share: 40'
  )
  group = parser.add_argument_group('ask')
  group.add_argument('--question', metavar='TEXT')
  group = parser.add_argument_group('chat')
  group.add_argument('--script', metavar='FILE', help='messages, one a line')
  group.add_argument('--replies', metavar='FILE', help='default: the shipped ones')
  group.add_argument('--sentiment', metavar='RUN', help='a fine-tuned classifier')
  group.add_argument(
    '--angry_label', default='0', metavar='CLASS', help='of --sentiment; default: 0'
  )
  group.add_argument(
    '--angry', type=float, default=0.9, metavar='P', help='from which probability: 0.9'
  )
  group.add_argument(
    '--transcripts', metavar='DIR', help='default: transcripts/ in the index'
  )
  group = parser.add_argument_group('calibrate, evaluate')
  group.add_argument('--questions', metavar='FILE', help='.jsonl, or .json as SQuAD')
  group.add_argument(
    '--split', default='all', metavar='NAME', help='of a SQuAD file, as in trainings'
  )
  group.add_argument('--max_questions', type=int, metavar='N')
  group.add_argument('--figure', metavar='FILE', help='evaluate: recall, .png or .svg')
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  for name in NEEDS[args.action]:
    if not getattr(args, name):
      raise ConfigError(f'support {args.action}: needs --{name}; see --help.')
  if args.passages is not None and args.passages < 1:
    raise ConfigError(f'--passages={args.passages}: expected 1 or more.')
  flags.enable_compilation_cache()
  ACTIONS[args.action](args)


def _index(args):
  from gpt_jax.retrieval import index
  from gpt_jax.storage import places
  from gpt_jax.support import opening
  from gpt_jax.tracking import console

  encoder = str(places.place(args.encoder)) if args.encoder else ''
  settings = index.Settings(args.max_words, args.overlap_words, encoder)
  change = index.update(
    args.index,
    args.documents,
    settings,
    opening.encoder_of(encoder),
    lambda items, total: console.progress(items, 'embedding', total),
  )
  if change.others:
    some = ', '.join(change.others[:5])
    print(
      f'{len(change.others)} files of other kinds are left out: {some}',
      file=sys.stderr,
    )
  print(f'{args.index}: {change}')


def _ask(args):
  service = _service(args)
  _say_uncalibrated(service, args)
  found = service.answer(' '.join(args.question.split()))
  if found.is_sure:
    print(found.text)
    _print_citations(found)
  else:
    from gpt_jax.support import replies

    print(replies.load(args.replies).text('no_answer', args.question))
  if args.json:
    print(json.dumps(found.to_dict(), ensure_ascii=False))


def _chat(args):
  import functools

  from gpt_jax.safety import redaction
  from gpt_jax.support import conversation, hand_over, replies

  fixed = replies.load(args.replies)
  messages = _lines(args.script) if args.script else _typed()
  service = _service(args)
  _say_uncalibrated(service, args)
  anger_of = None
  if args.sentiment:
    import gpt_jax

    anger_of = hand_over.anger_by(gpt_jax.load(args.sentiment), args.angry_label)
  folder = args.transcripts or pathlib.Path(args.index) / 'transcripts'
  path = hand_over.transcript_path(folder)
  redactor = redaction.Redactor()
  write = functools.partial(
    hand_over.write_transcript, path, redact=lambda text: redactor.redact(text)[0]
  )
  rules = hand_over.Rules(anger_of=anger_of, angry=args.angry)
  talk = conversation.Conversation(service, fixed, rules, write)
  for message in messages:
    if not message.strip():
      continue
    turn = talk.say(message)
    if args.script:
      print(f'> {turn.message}')
    print(turn.reply)
    if turn.found is not None:
      _print_citations(turn.found)
  if talk.handed_over:
    print(f'handed over ({talk.handed_over}): {path}', file=sys.stderr)
  if args.json:
    turns = [turn.to_dict() for turn in talk.turns]
    print(
      json.dumps(dict(turns=turns, handed_over=talk.handed_over), ensure_ascii=False)
    )


def _calibrate(args):
  from gpt_jax.support import confidence, evaluate
  from gpt_jax.tracking import console

  service, questions, vectors_QD = _asked(args)
  asked = evaluate.ask_twice(service, questions, vectors_QD, console.progress)
  found = confidence.fit(
    [one.features for one in asked], [one.is_answerable for one in asked]
  )
  confidence.save(service.searcher.index.folder, service.key, found)
  print(
    f'{service.key}: answers above a confidence of {found.threshold:.3f}; of'
    f' {found.num_unanswerable} questions without an answer {found.false_answers:.1%}'
    f' are answered, of {found.num_answerable} with one {found.false_refusals:.1%} are'
    ' not (of these questions themselves; evaluate measures others)'
  )
  if args.json:
    import dataclasses

    print(json.dumps(dataclasses.asdict(found)))


def _evaluate(args):
  from gpt_jax.support import evaluate
  from gpt_jax.tracking import console

  service, questions, vectors_QD = _asked(args)
  curves = evaluate.recall(service.searcher, questions, vectors_QD)
  report: dict = dict(num_questions=len(questions), answerer=service.answerer.name)
  if curves:
    report['recall'] = {
      name: {str(k): recalls[k - 1] for k in evaluate.CUTOFFS}
      for name, recalls in curves.items()
    }
    columns = ('search', *(f'recall@{k}' for k in evaluate.CUTOFFS))
    rows = [(name, *one.values()) for name, one in report['recall'].items()]
    console.table('passages with the answer among the first k', columns, rows)
    if args.figure:
      from gpt_jax.plots import recall_curves

      recall_curves.save(curves, args.figure)
  found = evaluate.reading(service, questions, vectors_QD, console.progress)
  report['answers'] = found
  columns = ('answers from', 'exact match', 'F1', 'cited sentence has it')
  rows = [
    (name, one['exact_match'], one['f1'], one['cited']) for name, one in found.items()
  ]
  console.table(f'answers by {service.answerer.kind}', columns, rows)
  if service.confidence is not None:
    asked = evaluate.ask_twice(service, questions, vectors_QD, console.progress)
    report['refusals'] = evaluate.refusals(service, asked)
    rows = [(name, '-' if v is None else v) for name, v in report['refusals'].items()]
    console.table(
      f'with the threshold {service.confidence.threshold:.3f}', ('what', 'value'), rows
    )
  else:
    _say_uncalibrated(service, args)
  if args.json:
    print(json.dumps(report, ensure_ascii=False))


ACTIONS = {
  'index': _index,
  'ask': _ask,
  'chat': _chat,
  'calibrate': _calibrate,
  'evaluate': _evaluate,
}


def _service(args):
  from gpt_jax.support import opening

  return opening.open_service(
    args.index,
    encoder=args.encoder,
    workdir=args.workdir,
    step=args.step,
    method=args.method,
    count=args.passages,
  )


def _asked(args):
  """Returns (Service, its questions, their vectors)."""
  from gpt_jax.support import questions

  found = questions.load(args.questions, args.split, args.max_questions)
  service = _service(args)
  return service, found, service.searcher.embed([one.text for one in found])


def _say_uncalibrated(service, args):
  if service.confidence is None:
    print(
      f'no threshold was chosen for {service.key}: whatever is found is answered;'
      f' gpt-jax support calibrate --index={args.index} --questions=FILE chooses one',
      file=sys.stderr,
    )


def _print_citations(found):
  for one in found.citations:
    print(f'  [{one.number}] {one.place}: {one.quote}')


def _lines(path):
  try:
    return pathlib.Path(path).read_text(encoding='utf-8').splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise DataError(f'--script={path}: cannot be read: {error}') from error


def _typed():
  """Yields what is typed, until the end of the input."""
  while True:
    try:
      yield input('> ' if sys.stdin.isatty() else '')
    except EOFError:
      return
