"""`launch --where=tpu_vm`: machines, code and run, with a gcloud that checks flags."""

import os
import shlex
import signal
import subprocess
import threading
import time

import pytest

from gpt_jax import cli
from gpt_jax.core.errors import StorageError
from gpt_jax.launchers import code_archive, queued_resource, tpu_supervision, tpu_vm
from gpt_jax.launchers.description import Description, Task
from gpt_jax.workdir import files
from tests.launchers import tpu_cloud

TRAIN = ['--', 'train', '--config=tiny', '--workdir=gs://my-bucket/runs/Gpt_2']
TPU = ['launch', '--where=tpu_vm', '--topology=2xv5e:2x4', '--zone=us-west4-a']
PODS = ['launch', '--where=tpu_vm', '--topology=2xv5e:4x4']
NAME = 'gpt-2'
COMMIT = '0123456789abcdef0123456789abcdef01234567'


@pytest.fixture(scope='session')
def checkout(tmp_path_factory):
  """Returns a Checkout of a small repository that has the configs of this one."""
  folder = tmp_path_factory.mktemp('clone')
  (folder / 'configs').mkdir()
  (folder / 'configs' / 'tiny.py').write_text('"""A config."""\n')
  git = ['git', '-C', str(folder), '-c', 'user.name=a', '-c', 'user.email=a@b.c']
  for words in (['init', '-q'], ['add', '.'], ['commit', '-q', '-m', 'first']):
    subprocess.run([*git, *words], check=True)
  return code_archive.checkout_of(folder)


@pytest.fixture
def cloud(tmp_path, monkeypatch, checkout):
  """Returns the folder of a cloud of TPU VMs; the current one is a clean checkout."""
  tpu_cloud.install(tmp_path, monkeypatch)
  monkeypatch.setattr(code_archive, 'CODE', checkout.root)
  monkeypatch.chdir(checkout.root)
  monkeypatch.setenv('TMPDIR', str(tmp_path))
  monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
  monkeypatch.setattr(queued_resource, 'POLL_SECONDS', 0.01)
  monkeypatch.setattr(tpu_supervision, 'RETRY_SECONDS', 0.01)
  monkeypatch.setattr(files, 'check_writable', lambda directory: directory)
  (tmp_path / 'program').write_text('echo "trained: $*"\n')
  return tmp_path


UNTIL_GO = (
  'echo x >> {cloud}/starts; echo begun\n'
  'until [ -e {cloud}/go ]; do sleep 0.1; echo at work; done; echo done\n'
)


def let_go(cloud, is_time):
  """Has the program of UNTIL_GO end once `is_time()`."""

  def wait():
    while not is_time():
      time.sleep(0.05)
    (cloud / 'go').touch()

  threading.Thread(target=wait, daemon=True).start()


def test_a_run_goes_from_nothing_to_its_end_and_back(cloud, capfd, checkout):
  assert cli.main([*TPU, '--spot', '--wait', *TRAIN]) == 0
  assert tpu_cloud.verbs(cloud) == [
    'describe', 'create', *['describe'] * 3, 'scp', 'scp', 'ssh install',
    'ssh status', 'ssh start', 'ssh follow', 'delete',
  ]  # fmt: skip
  assert tpu_cloud.resources(cloud) == {}
  shown = capfd.readouterr()
  for worker in (f'{NAME}-{node}-w-0' for node in (0, 1)):
    assert f'{worker}: trained: {shlex.join(TRAIN[1:])}' in shown.out
  assert f'commit {checkout.commit[:12]} is installed' in shown.err
  assert 'started on 2 workers' in shown.err
  create = tpu_cloud.calls(cloud)[1]
  assert create[1:] == [
    NAME,
    '--zone=us-west4-a',
    '--runtime-version=v2-alpha-tpuv5-lite',
    '--accelerator-type=v5litepod-8',
    '--node-count=2',
    f'--node-prefix={NAME}',
    '--spot',
    '--async',
    '--quiet',
  ]


@pytest.mark.slow
def test_dry_run_prints_the_calls_that_launch_makes(cloud, capfd):
  assert cli.main([*TPU, '--wait', '--dry_run', *TRAIN]) == 0
  shown = capfd.readouterr().out
  assert tpu_cloud.calls(cloud) == []
  assert cli.main([*TPU, '--wait', *TRAIN]) == 0
  lines = [shlex.split(line) for line in shown.splitlines() if line[:7] == 'gcloud ']
  for call in tpu_cloud.calls(cloud):
    same = [word for word in call if not word.startswith('--command=')]
    assert any(line[4:] == call or same == _without_command(line[4:]) for line in lines)
  # The script is the same to the last byte, and a shell can execute what is shown.
  script = shown.split("'END_OF_INPUT'\n")[1].split('END_OF_INPUT')[0]
  assert (cloud / f'gpt-jax-{NAME}.sh').read_text() == script
  assert subprocess.run(['bash', '-n', '-c', shown]).returncode == 0


def _without_command(words):
  return [word for word in words if not word.startswith('--command=')]


@pytest.mark.slow
def test_without_wait_the_run_goes_on_and_is_found_again(cloud, capfd):
  (cloud / 'program').write_text(UNTIL_GO.format(cloud=cloud))
  one = ['launch', '--where=tpu_vm', '--topology=v5e:2x4']
  assert cli.main([*one, *TRAIN]) == 0
  assert 'gcloud compute tpus queued-resources delete gpt-2' in capfd.readouterr().err
  assert list(tpu_cloud.resources(cloud)) == [NAME]
  let_go(cloud, lambda: 'ssh follow' in tpu_cloud.verbs(cloud))
  assert cli.main([*one, '--wait', *TRAIN]) == 0
  shown = capfd.readouterr()
  assert 'it runs there already: following it' in shown.err
  assert shown.out.count('done') == 1
  assert (cloud / 'starts').read_text().split() == ['x']
  # It was there before this command: it is kept.
  assert list(tpu_cloud.resources(cloud)) == [NAME]
  assert 'is kept' in shown.err


@pytest.mark.slow
def test_a_run_of_another_commit_is_not_taken_for_this(cloud, capfd, monkeypatch):
  (cloud / 'program').write_text('sleep 60\n')
  one = ['launch', '--where=tpu_vm', '--topology=v5e:2x4']
  assert cli.main([*one, *TRAIN]) == 0
  first = code_archive.checkout_of()
  git = ['git', '-C', str(first.root), '-c', 'user.name=a', '-c', 'user.email=a@b.c']
  commit = ['commit', '-q', '--allow-empty', '-m', 'second']
  subprocess.run([*git, *commit], check=True)
  try:
    assert cli.main([*one, '--wait', *TRAIN]) == 2
  finally:
    subprocess.run([*git, 'reset', '-q', '--hard', first.commit], check=True)
  shown = capfd.readouterr().err
  assert f'it runs there already, at commit {first.commit[:12]}; this is' in shown
  assert subprocess.run(['gcloud', *tpu_vm_words('delete', '--force')]).returncode == 0


def tpu_vm_words(verb, *flags):
  return [*queued_resource.GROUP[1:], verb, NAME, '--quiet', *flags]


@pytest.mark.slow
def test_a_preempted_run_starts_again_on_other_machines(cloud, capfd):
  # The first start loses its machines; the second finds what the first has saved.
  (cloud / 'program').write_text(
    f'if [ -e {cloud}/saved ]; then echo resumed; exit 0; fi\n'
    f'echo begun; sleep 1\n'
    f'touch {cloud}/saved; echo SUSPENDING SUSPENDED > {cloud}/{NAME}.story\n'
    f'echo {NAME} > {cloud}/preempted; sleep 9\n'
  )
  one = ['launch', '--where=tpu_vm', '--topology=v5e:2x4', '--wait']
  assert cli.main([*one, *TRAIN]) == 0
  shown = capfd.readouterr()
  assert shown.out.count('begun') == shown.out.count('resumed') == 1
  assert 'preempted: the machines were taken away' in shown.err
  assert f'{NAME} is SUSPENDED' in shown.err
  verbs = tpu_cloud.verbs(cloud)
  assert verbs.count('create') == verbs.count('delete') == 2
  assert verbs.count('scp') == 4  # other machines have nothing


@pytest.mark.slow
@pytest.mark.parametrize(
  'code, restarts, expected',
  [
    (2, 0, 2),  # a mistake: another start would end the same
    (137, 2, 137),  # a crash: as often as allowed
    (75, None, 0),  # saved: always again
  ],
)
def test_the_exit_code_says_whether_a_run_starts_again(
  cloud, capfd, code, restarts, expected
):
  count = f'n=$(cat {cloud}/n 2>/dev/null || echo 0); echo $((n + 1)) > {cloud}/n\n'
  end = f'[ $n -ge 3 ] && [ {code} = 75 ] && exit 0\nexit {code}\n'
  (cloud / 'program').write_text(count + end)
  one = ['launch', '--where=tpu_vm', '--topology=v5e:2x4', '--wait']
  assert cli.main([*one, '--max_restarts=2', *TRAIN]) == expected
  starts = int((cloud / 'n').read_text())
  assert starts == (4 if code == 75 else restarts + 1)
  assert tpu_cloud.verbs(cloud).count('ssh start') == starts


@pytest.mark.slow
def test_a_signal_has_the_run_save_and_gives_machines_back(cloud, capfd):
  (cloud / 'program').write_text(
    'trap "echo saved; exit 75" TERM\n'
    f'touch {cloud}/begun; for i in $(seq 200); do sleep 0.1; done\n'
  )

  def interrupt():
    while not (cloud / 'begun').exists() or 'ssh follow' not in tpu_cloud.verbs(cloud):
      time.sleep(0.05)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)

  thread = threading.Thread(target=interrupt)
  thread.start()
  one = ['launch', '--where=tpu_vm', '--topology=v5e:2x4', '--wait']
  assert cli.main([*one, *TRAIN]) == 75
  thread.join()
  assert f'{NAME}-w-0: saved' in capfd.readouterr().out
  assert tpu_cloud.resources(cloud) == {}
  assert tpu_cloud.verbs(cloud).count('ssh start') == 1


@pytest.mark.slow
def test_points_of_a_sweep_share_machines(cloud, capfd):
  (cloud / 'program').write_text('case $* in *b*) exit 3 ;; esac\n')
  tasks = [
    Task('seed=1', ('--a',)),
    Task('seed=2', ('--b',)),
    Task('after_it', ('--c',), needs=('seed=2',)),
    Task('seed=3', ('--d',)),
  ]
  flags = ['--where=tpu_vm', '--topology=v5e:2x4', '--wait']
  args = cli._parser().parse_args(['launch', *flags])
  study = Description(
    ('train',), 'My_study', topology='v5e:2x4', folder=os.getcwd(), tasks=tuple(tasks)
  )
  assert tpu_vm.problems(study, args) == []
  assert tpu_vm.launch(study, args) == 3
  verbs = tpu_cloud.verbs(cloud)
  assert verbs.count('create') == verbs.count('delete') == 1
  assert verbs.count('ssh start') == 3
  shown = capfd.readouterr().err
  assert 'my-study-seed-2 ended with exit code 3' in shown
  assert 'not run: my-study-after-it, which needs my-study-seed-2' in shown


@pytest.mark.slow
def test_the_cause_is_told_not_what_it_did_to_others(cloud):
  (cloud / 'program').write_text(
    'case $(hostname) in *-0-w-2) exit 3 ;; *) sleep 0.3; exit 134 ;; esac\n'
  )
  rows = ['--config.train.batch_size=32', '--config.eval.batch_size=32']
  assert cli.main([*PODS, '--wait', *TRAIN, *rows]) == 3


@pytest.mark.slow
def test_a_cut_connection_neither_ends_nor_doubles_a_run(cloud, capfd):
  (cloud / 'program').write_text(UNTIL_GO.format(cloud=cloud))
  one = ['launch', '--where=tpu_vm', '--topology=v5e:2x4']
  assert cli.main([*one, *TRAIN]) == 0

  def is_cut():
    if 'ssh follow' in tpu_cloud.verbs(cloud) and not (cloud / 'cut').exists():
      (cloud / 'cut').write_text(f'{NAME}/w-0')
    return (cloud / 'cut').exists() and not (cloud / 'cut').read_text()

  let_go(cloud, is_cut)
  assert cli.main([*one, '--wait', *TRAIN]) == 0
  assert (cloud / 'starts').read_text().split() == ['x']
  assert 'done' in capfd.readouterr().out


@pytest.mark.slow
def test_workers_that_are_not_reached_are_an_error(cloud, capfd):
  # gcloud ends with 0 where it has no key: what counts is what workers report.
  (cloud / 'agent').unlink()
  assert cli.main([*TPU, *TRAIN]) == 2
  shown = capfd.readouterr().err
  assert 'install: 0 of 2 workers did it' in shown
  assert 'is there; to give it back: gcloud' in shown


@pytest.mark.slow
def test_another_resource_of_this_name_is_not_used(cloud, capfd):
  one = ['launch', '--where=tpu_vm', '--topology=v5e:2x4']
  assert cli.main([*one, *TRAIN]) == 0
  assert cli.main([*TPU, *TRAIN]) == 2
  shown = capfd.readouterr().err
  assert (
    f'--name={NAME}: a queued resource of this name is there with slices 1' in shown
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  'story, expected',
  [
    (
      'WAITING_FOR_RESOURCES FAILED',
      'the request has failed: There is no more capacity',
    )
  ],
)
def test_a_failed_request_is_told_with_its_reason(cloud, capfd, story, expected):
  (cloud / f'{NAME}.story').write_text(story)
  assert cli.main([*TPU, *TRAIN]) == 2
  assert expected in capfd.readouterr().err
  assert tpu_cloud.resources(cloud) == {}


def test_who_is_not_logged_in_is_told_how(cloud, capfd):
  (cloud / 'login').unlink()
  assert cli.main([*TPU, *TRAIN]) == 2
  assert 'To go on: run: gcloud auth login.' in capfd.readouterr().err
  assert tpu_cloud.verbs(cloud) == ['describe']


@pytest.mark.parametrize(
  'flags, expected',
  [
    (['--topology=v5e:4x5'], '--topology=v5e:4x5: no slice has this shape'),
    (['--topology=tpu7x:2x2x1'], 'TPU VMs have no tpu7x; --where=gke has'),
    (['--topology=v5p:4x4x16'], 'by the number of its chips alone'),
    (['--name=Gpt_2'], '--name=Gpt_2: expected small letters'),
    (['--spot', '--reserved'], 'reserved TPUs are no Spot VMs'),
    (['--image=x'], '--image: belongs to --where=gke'),
  ],
)
def test_a_mistake_is_told_before_gcloud_is_called(cloud, capfd, flags, expected):
  assert cli.main([*TPU, *flags, *TRAIN]) == 2
  assert expected in capfd.readouterr().err
  assert tpu_cloud.calls(cloud) == []


def test_a_workdir_on_the_disk_of_a_host_is_refused(cloud, capfd):
  for workdir in ('runs/x', os.path.abspath('runs/x')):
    assert cli.main([*TPU, '--', 'train', f'--workdir={workdir}']) == 2
    shown = capfd.readouterr().err
    assert f'--workdir={workdir}: the disk of each host is its own' in shown
    assert 'such as gs://BUCKET/x' in shown


def test_a_bucket_without_permission_costs_nothing(cloud, monkeypatch, capfd):
  def denied(directory):
    raise StorageError(f'{directory}: permission denied by gs://my-bucket.')

  monkeypatch.setattr(files, 'check_writable', denied)
  assert cli.main([*TPU, *TRAIN]) == 5
  assert 'gs://my-bucket/runs/Gpt_2: permission denied' in capfd.readouterr().err
  assert tpu_cloud.calls(cloud) == []


def test_without_gcloud_its_package_is_named(cloud, monkeypatch, capfd):
  monkeypatch.setenv('PATH', str(cloud / 'worker_bin'))
  assert cli.main([*TPU, *TRAIN]) == 2
  shown = capfd.readouterr().err
  assert 'no gcloud on this machine' in shown and 'google-cloud-cli' in shown
