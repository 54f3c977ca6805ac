"""A run on GKE as a JobSet: a Job for each slice, a pod for each of its hosts.

Nothing here calls Kubernetes. Sources: jobset.sigs.k8s.io, API jobset.x-k8s.io/v1alpha2
(message patterns of its failure policy: from version 0.10 on); the page on pod failure
policies of kubernetes.io; the pages on TPUs, Spot VMs and Kueue of
cloud.google.com/kubernetes-engine.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpt_jax.launchers import dns_labels
from gpt_jax.launchers.processes import PREEMPTED
from gpt_jax.launchers.slices import Slices
from gpt_jax.launchers.supervise import FINAL

API_VERSION = 'jobset.x-k8s.io/v1alpha2'
JOB = 'slice'
CONTAINER = 'gpt-jax'
MISTAKES = sorted(FINAL - {0, 130})  # another start would end the same
PORTS = (8471, 8080, 8482)  # between hosts of a slice, between slices, of jax
SPOT_GRACE_SECONDS = 25
"""Of the 30 s that a Spot VM has between its notice and its end."""
GRACE_SECONDS = 300
_TPU_RESOURCE = 'google.com/tpu'
_POOL = 'cloud.google.com/gke-nodepool'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """What a JobSet says beside its command; '' or 0 leaves a part out."""

  image: str
  namespace: str = ''
  queue: str = ''  # of Kueue, in the namespace: the JobSet waits for its quota there
  priority: str = ''  # of Kueue: a WorkloadPriorityClass
  service_account: str = ''  # of Kubernetes: whose rights the pods have on buckets
  reservation: str = ''
  spot: bool = False
  max_restarts: int = 10  # after crashes; preemptions are not counted
  cpu: str = ''  # requests of a pod, such as 8
  memory: str = ''  # such as 32Gi
  grace_seconds: int = 0  # from SIGTERM to SIGKILL; 0: SPOT_ or GRACE_SECONDS


def appended(slices):
  """Returns the longest text that controllers put after the name of a JobSet."""
  last_job, last_pod = (slices.count - 1, slices.hosts - 1) if slices else (0, 0)
  return f'-{JOB}-{last_job}-{last_pod}-xxxxx'


def name_of(text, slices):
  """Returns a JobSet name made of any text."""
  return dns_labels.label(text, appended(slices))


def manifest(
  name: str,
  command: tuple[str, ...],
  slices: Slices | None,
  settings: Settings,
  environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
  """Returns the JobSet as nested dicts and lists, as its YAML reads.

  Args:
    command: the words of the container, its program first.
    slices: None for one pod without TPUs.
    environment: of all pods.
  """
  metadata: dict[str, Any] = dict(name=name, namespace=settings.namespace)
  metadata['labels'] = _without_empty(
    {
      'app.kubernetes.io/name': 'gpt-jax',
      'kueue.x-k8s.io/queue-name': settings.queue,
      'kueue.x-k8s.io/priority-class': settings.priority,
    }
  )
  if slices and slices.hosts * slices.count > 1:
    # A slice is a node pool: no two Jobs share one, and none spreads over two.
    metadata['annotations'] = {
      'alpha.jobset.sigs.k8s.io/exclusive-topology': _POOL,
    }
  return dict(
    apiVersion=API_VERSION,
    kind='JobSet',
    metadata=_without_empty(metadata),
    spec=dict(
      failurePolicy=_failure_policy(settings),
      replicatedJobs=[
        dict(
          name=JOB,
          replicas=slices.count if slices else 1,
          template=dict(spec=_job(command, slices, settings, environment or {})),
        )
      ],
    ),
  )


def _failure_policy(settings):
  """Returns when the JobSet starts again: always all of it, as one program."""
  # A Job says which rule of its pod failure policy has ended it in a message alone.
  matching = 'matching FailJob rule at index'
  return dict(
    maxRestarts=settings.max_restarts,
    # The old pods have to be gone, or the new ones wait for their TPUs.
    restartStrategy='BlockingRecreate',
    rules=[
      dict(
        name='preempted',
        action='RestartJobSetAndIgnoreMaxRestarts',
        onJobFailureReasons=['PodFailurePolicy'],
        onJobFailureMessagePatterns=[f'{matching} [01]$'],
      ),
      dict(
        name='mistake',
        action='FailJobSet',
        onJobFailureReasons=['PodFailurePolicy'],
        onJobFailureMessagePatterns=[f'{matching} 2$'],
      ),
    ],
  )


def _job(command, slices, settings, environment):
  num_pods = slices.hosts if slices else 1
  return dict(
    parallelism=num_pods,
    completions=num_pods,
    completionMode='Indexed',
    backoffLimit=0,  # a pod alone cannot join a program that runs: the JobSet restarts
    podFailurePolicy=dict(
      rules=[  # _failure_policy names them by their index
        dict(
          action='FailJob',
          onPodConditions=[dict(type='DisruptionTarget', status='True')],
        ),
        _on_exit([PREEMPTED]),
        _on_exit(MISTAKES),
      ]
    ),
    template=dict(spec=_pod(command, slices, settings, environment)),
  )


def _on_exit(codes):
  exits = dict(containerName=CONTAINER, operator='In', values=codes)
  return dict(action='FailJob', onExitCodes=exits)


def _pod(command, slices, settings, environment):
  pod = dict(
    restartPolicy='Never',
    terminationGracePeriodSeconds=settings.grace_seconds
    or (SPOT_GRACE_SECONDS if settings.spot else GRACE_SECONDS),
    serviceAccountName=settings.service_account,
    nodeSelector=_without_empty(
      {
        'cloud.google.com/gke-tpu-accelerator': slices.kind.gke if slices else '',
        'cloud.google.com/gke-tpu-topology': slices.shape if slices else '',
        'cloud.google.com/gke-spot': 'true' * settings.spot,
        'cloud.google.com/reservation-name': settings.reservation,
      }
    ),
    tolerations=[
      dict(
        key='cloud.google.com/gke-spot',
        operator='Equal',
        value='true',
        effect='NoSchedule',
      )
    ]
    * settings.spot,
  )
  if slices and slices.count > 1:
    # The network between slices at full speed: that of the nodes, not one of pods.
    pod |= dict(hostNetwork=True, dnsPolicy='ClusterFirstWithHostNet')
  pod['containers'] = [_container(command, slices, settings, environment)]
  return _without_empty(pod)


def _container(command, slices, settings, environment):
  variables = dict(PYTHONUNBUFFERED='1', JAX_PLATFORMS='cpu')
  wanted = _without_empty(dict(cpu=settings.cpu, memory=settings.memory))
  limits = {}
  if slices:
    # On a node whose TPU is missing jax would train on the CPU: with this it fails.
    variables['JAX_PLATFORMS'] = 'tpu,cpu'
    limits = {_TPU_RESOURCE: slices.chips_per_host}
  variables |= environment
  container = dict(
    name=CONTAINER,
    image=settings.image,
    command=[_literal(word) for word in command],
    env=[dict(name=name, value=_literal(value)) for name, value in variables.items()],
    ports=[dict(containerPort=port) for port in PORTS] if slices else [],
    resources=_without_empty(dict(requests=wanted | limits, limits=limits)),
  )
  return _without_empty(container)


def _literal(text):
  # Kubernetes puts the values of variables in place of $(NAME).
  return text.replace('$(', '$$(')


def _without_empty(entries):
  """Returns the entries of a dict that say something."""
  return {key: value for key, value in entries.items() if value not in ('', [], {})}
