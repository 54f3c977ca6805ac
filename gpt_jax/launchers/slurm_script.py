"""The batch script of a run on SLURM: what is asked for, srun, and what its end means.

SLURM keeps a copy of the script; a requeued job runs it again from its beginning, and
the command resumes from its workdir.
"""

import re
import shlex
import sys

from gpt_jax.launchers.supervise import FINAL

INTERRUPTED = 130  # by Ctrl-C, or its signal
MISTAKES = tuple(sorted(FINAL - {0, INTERRUPTED}))
"""Exit codes of the user's errors: another start would end the same."""


def script(description, args, logs, tasks=()):
  """Returns the text of the batch script of a Description.

  Args:
    args: the flags of `slurm.add_arguments`.
    logs: the folder of its logs.
    tasks: those of an array job, `description.Task`s; () for a job of its own.
  """
  words = [sys.executable, '-m', 'gpt_jax', *description.command]
  lines = ['#!/bin/bash', *_requests(description, args, logs, bool(tasks))]
  if tasks:
    at_once = f'%{description.at_once}' if description.at_once else ''
    lines.append(f'#SBATCH --array=0-{len(tasks) - 1}{at_once}')
  lines += [
    '',
    '# This log has what the launcher says; each process has a log beside it.',
  ]
  for name, value in description.environment.items():
    lines.append(f'export {name}={shlex.quote(value)}')
  command = shlex.join(words)
  if tasks:
    lines += ['tasks=(', *(f'  {shlex.quote(shlex.join(t.words))}' for t in tasks), ')']
    lines.append('eval "set -- ${tasks[$SLURM_ARRAY_TASK_ID]}"')
    command += ' "$@"'
  body = _BODY
  for name, value in {
    'LOGS': shlex.quote(str(logs)),
    'SRUN': shlex.join(_srun(args)),
    'COMMAND': command,
    'MISTAKES': ' '.join(map(str, MISTAKES)),
    'FINAL': '|'.join(map(str, (*MISTAKES, INTERRUPTED))),
    'MAX_RESTARTS': str(args.max_restarts),
  }.items():
    body = body.replace(f'@{name}@', value)
  return '\n'.join(lines) + body


def log_pattern(is_array):
  """Returns SLURM's pattern for the name of a job's logs, without an ending."""
  return 'slurm-%A_%a' if is_array else 'slurm-%j'


def _requests(description, args, logs, is_array):
  asked = {
    'job-name': description.name,
    'chdir': description.folder,
    'output': f'{str(logs).replace("%", "%%")}/{log_pattern(is_array)}.log',
    'open-mode': 'append',
    'nodes': description.nodes,
    'ntasks-per-node': tasks_per_node(args),
    'gpus-per-node': args.gpus_per_node,
    'cpus-per-task': args.cpus_per_task,
    'mem': args.mem,
    'time': args.time,
    'partition': args.partition,
    'account': args.account,
    'qos': args.qos,
    'signal': f'TERM@{args.save_seconds}',  # to the processes, not to this shell
  }
  lines = [f'--{name}={_word(value)}' for name, value in asked.items() if value]
  if not args.cpus_per_task:
    lines.append('--exclusive')  # a task has all cores of its node
  lines += ['--requeue', *args.sbatch]
  return [f'#SBATCH {line}' for line in lines]


def _word(value):
  """Returns `value` as sbatch reads it in a line of a script."""
  text = str(value)
  return (
    text
    if re.fullmatch(r'[\w@%+=:,./-]+', text)
    else '"' + re.sub(r'(["\\])', r'\\\1', text) + '"'
  )


def tasks_per_node(args):
  """Returns how many processes of a run a node has."""
  return args.gpus_per_node if args.task_per == 'gpu' else 1


def _srun(args):
  words = ['srun', '--open-mode=append']
  if args.cpus_per_task:
    # srun does not take it over from sbatch (since 22.05).
    words.append(f'--cpus-per-task={args.cpus_per_task}')
  else:
    words.append('--cpu-bind=none')
  # The others write and end in order, or XLA ends them when they miss one.
  return [*words, '--kill-on-bad-exit=0']


_BODY = r"""
logs=@LOGS@
job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
name=slurm-$job
say() { echo "launch: $(date '+%F %T') $*"; }

# scancel, scontrol requeue and preemption send TERM here as well; there is more to do.
trap : TERM
say "job $job, start $((${SLURM_RESTART_COUNT:-0} + 1)), on $SLURM_JOB_NODELIST"
# srun would answer a TERM with KILL to the processes, which are about to save.
( trap '' TERM
  exec @SRUN@ --output="${logs//%/%%}/$name.task%t.log" \
    @COMMAND@
) 2> "$logs/$name.srun" &
step=$!
while kill -0 $step 2>/dev/null; do wait $step; done
wait $step
code=$?
cat "$logs/$name.srun"
# Where one process ends with a mistake, others may abort for the lack of it.
for mistake in @MISTAKES@; do
  if grep -q "exit code $mistake\$" "$logs/$name.srun"; then code=$mistake; fi
done

# srun itself ends with 0 where SLURM tells it that a node is lost.
if [ "$code" = 0 ] && grep -q 'error: Node failure on' "$logs/$name.srun"; then
  code=1
fi

# Another state than RUNNING: cancelled, out of time, or requeued already, by SLURM.
# Another count of restarts: requeued by SLURM, which has lost this node.
is_mine() {
  local now
  now=$(scontrol show job "$job") && [[ $now == *JobState=RUNNING* ]] &&
    [[ "$now " == *"Restarts=${SLURM_RESTART_COUNT:-0} "* ]]
}
requeue() {
  if is_mine; then
    say "requeued: $*"
    scontrol requeue "$job"
  else
    say 'SLURM has ended this start itself, and decides on another one'
  fi
}
case $code in
  0) say 'done' ;;
  @FINAL@) say "exit code $code: another start would end the same" ;;
  75) say 'stopped with nothing lost (exit code 75)'; requeue 'it resumes there' ;;
  *)
    text="exit code $code on $SLURM_JOB_NODELIST"
    if is_mine; then say "$text" | tee -a "$logs/$name.crashes"; else say "$text"; fi
    crashes=$(cat "$logs/$name.crashes" 2>/dev/null | wc -l)
    if [ "$crashes" -le @MAX_RESTARTS@ ]; then
      requeue "crash $crashes of at most @MAX_RESTARTS@"
    else
      say 'not requeued: --max_restarts=@MAX_RESTARTS@ are used up'
    fi
    ;;
esac
exit $code
"""
