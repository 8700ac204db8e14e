"""What coordinator, agents and workers say to each other: JSON behind its length, and who may say it."""

import hashlib
import hmac
import secrets
import socket
import struct
from dataclasses import fields
from typing import Literal

import msgspec

from cordee.core.errors import CordeeError
from cordee.train.policy.effects import Plan
from cordee.train.policy.rounds import Stray
from cordee.train.policy.sums import Total
from cordee.train.policy.teams import Team
from cordee.train.policy.trust import Checks, Vote
from cordee.train.policy.workers import Phase

PROTOCOL = 10
"""Another number for every change that makes versions misunderstand each other."""
Role = Literal["worker", "agent", "host", "watch", "probe", "reach", "keep"]
LENGTH = struct.Struct("!I")
MESSAGE_MOST = 1 << 24
ALIVE_S = 0.2
"""So often agents and the coordinator tell each other that they are alive."""


class Refused(CordeeError):
    """The other side does not let one in."""


class Message(msgspec.Struct, tag_field="is", frozen=True):
    """Something said."""


# What workers say.


class Hello(Message, tag="hello", frozen=True):
    """A worker has begun."""

    worker: int
    host: str
    pid: int
    store: str
    """HOST:PORT of the worker's own store, for the groups in which it is the first."""
    feed: str
    """HOST:PORT where the worker takes the state of others."""
    device: str
    shards: int
    mode: str
    parameters: str
    """A digest of names, shapes and types: members have the same model."""
    replica: int = 1
    """So many workers hold a model together; where they are more, shards and parameters come with `Ready`."""
    place: int | None = None
    """Which part of it is this worker's, where a coordinator that is gone has told it."""
    ways: int = 1
    """So many addresses it has, over which groups may be formed."""
    epoch: int = 0
    """The newest that it has heard of, where it comes back from a coordinator that is gone."""
    skipped: int = -1
    """The last step that was left out, as it knows."""
    made: int = -1
    """The last step of whose commit it has heard,"""
    total: Total | None = None
    """and what that step has."""


class Ready(Message, tag="ready", frozen=True):
    """It has its model and waits to be let in."""

    shards: int = 0
    parameters: str = ""
    lost: int = -1
    """The member from which no more of the state comes, if there is one."""


class Beat(Message, tag="beat", frozen=True):
    """It is alive."""

    phase: Phase
    shard_s: float
    moved_bytes: int = -1
    """Over its connections to other members since their group was formed; -1: it does not know."""


class Progressed(Message, tag="progressed", frozen=True):
    """It has begun with another shard."""


class Reported(Message, tag="reported", frozen=True):
    """How far it is, at the beginning of an epoch."""

    epoch: int
    step: int
    reduced: bool
    held: tuple[int, ...]
    kept: tuple[int, ...] = ()
    apart: int = 0
    """Steps between two exchanges, where it trains by itself."""


class Done(Message, tag="done", frozen=True):
    """It holds the gradient of a step."""

    epoch: int
    step: int
    vote: Vote = Vote()
    """What it says of its state and its shards."""
    loss: float | None = None
    """The mean over all shards."""
    sent_bytes: int = 0
    """To each other member, in this step."""


class CaughtUp(Message, tag="caught-up", frozen=True):
    """It was fed, and has the state of a step."""

    step: int


class Probed(Message, tag="probed", frozen=True):
    """It has measured its link to another member."""

    other: int
    bytes_per_s: float


class Failed(Message, tag="failed", frozen=True):
    """What it did together with the others of an epoch has failed."""

    epoch: int
    error: str


class Seen(Message, tag="seen", frozen=True):
    """It has looked whether it reaches another member; or, of itself, whether its device answers."""

    look: int
    other: int
    reached: bool


class Strays(Message, tag="strays", frozen=True):
    """How far it would be from the others if it trained by itself."""

    stray: Stray
    drift: float
    """After one step, as a share of the length of the parameters."""


class Crashed(Message, tag="crashed", frozen=True):
    """Its program has failed."""

    error: str
    trace: str
    device: str = ""
    """What is wrong with its device, where that is why."""
    lasting: bool = False
    """Whether no other process can use that device."""


class Finished(Message, tag="finished", frozen=True):
    """Its program wants no more steps."""

    step: int


class Told(Message, tag="told", frozen=True):
    """Something for the journal of the job."""

    kind: str
    values: dict[str, str | int | float | bool | None]


FromWorker = (
    Hello
    | Ready
    | Beat
    | Progressed
    | Reported
    | Done
    | CaughtUp
    | Probed
    | Failed
    | Seen
    | Strays
    | Crashed
    | Finished
    | Told
)


# What the coordinator says.


class Challenge(Message, tag="challenge", frozen=True):
    """What a new connection must sign with the job's secret."""

    nonce: str
    protocol: int = PROTOCOL
    agent: bool = False
    """Whether this is the agent of a host, who knows where the coordinator is."""


class Answer(Message, tag="answer", frozen=True):
    """The signature."""

    proof: str
    role: Role
    protocol: int = PROTOCOL
    worker: int = -1
    """Who says so, where another worker asks."""


class Leads(Message, tag="leads", frozen=True):
    """Where the coordinator is, HOST:PORT."""

    to: str


class Member(msgspec.Struct, frozen=True):
    """A member, as others reach it."""

    worker: int
    store: str
    feed: str


class Epoch(Message, tag="epoch", frozen=True):
    """Members have changed."""

    epoch: int
    step: int
    members: tuple[Member, ...]
    lost: tuple[int, ...]
    reason: str
    again: bool = False
    """What was reduced for this step is wrong."""
    anew: bool = False
    """Nobody has a state yet: take one that was kept, if there is any."""
    stuck: bool = False
    """What members do together is to fail, although nobody is lost."""
    ways: tuple[int, ...] = ()
    """Of each member which of its addresses it uses; none: the first."""


class Planned(Message, tag="planned", frozen=True):
    """How the epoch goes on."""

    epoch: int
    step: int
    sources: tuple[int, ...]
    restore: tuple[int, ...]
    owners: tuple[int, ...]
    asks: tuple[tuple[int, int], ...] = ()
    """Members, and a shard that each is to compute although it is another's."""
    redo: bool = False
    """Make the step before again, from the copy of its state."""
    skipped: bool = False
    """The step before was not applied."""
    columns: tuple[tuple[int, ...], ...] = ()
    teams: tuple[Team, ...] = ()
    forget: tuple[int, ...] = ()
    total: Total | None = None
    back: tuple[int, ...] = ()
    apart: int = 0
    adders: tuple[int, ...] = ()
    checks: Checks = Checks()


class Committed(Message, tag="committed", frozen=True):
    """Apply the gradient of the step."""

    epoch: int
    step: int
    skip: bool = False
    """Or leave it."""
    owners: tuple[int, ...] = ()
    """Of the shards of the steps to come; none: as before."""
    total: Total | None = None


class Seated(Message, tag="seated", frozen=True):
    """Make this part of the model."""

    place: int


class Feeding(Message, tag="feeding", frozen=True):
    """Give the state to one that waits."""

    joiner: int
    to: str
    anew: bool = False
    """There is another coordinator, who says anew who is fed; nobody else is."""


class Copying(Message, tag="copying", frozen=True):
    """Give what you keep of your part to this one's host, too, HOST:PORT; none: to nobody."""

    to: str


class Probing(Message, tag="probing", frozen=True):
    """Measure the links to these."""

    members: tuple[Member, ...]


class Looking(Message, tag="looking", frozen=True):
    """All wait and nothing moves: look whether your device answers, and whether you reach these."""

    look: int
    members: tuple[Member, ...]
    most_s: float
    """So long it may take."""


class Leave(Message, tag="leave", frozen=True):
    """End: with an error where the job could not go on."""

    reason: str
    error: bool


Turn = Epoch | Planned | Committed | Leave
ToWorker = Challenge | Leads | Seated | Feeding | Copying | Probing | Looking | Turn


def planned(plan: Plan, checks: Checks) -> Planned:
    """A plan, as members hear it."""
    return Planned(checks=checks, **{f.name: getattr(plan, f.name) for f in fields(plan)})


def pack(message: Message) -> bytes:
    """A message as it goes over the wire."""
    body = msgspec.json.encode(message)
    return LENGTH.pack(len(body)) + body


def sign(secret: str, nonce: str) -> str:
    """The proof that one knows the secret."""
    return hmac.new(secret.encode(), nonce.encode(), hashlib.sha256).hexdigest()


def fits(secret: str, nonce: str, proof: str) -> bool:
    """Whether a proof is right."""
    return hmac.compare_digest(sign(secret, nonce), proof)


def check(answer: Answer, secret: str, nonce: str) -> None:
    """Raises `Refused` where one speaks another version, or does not know the secret."""
    if answer.protocol != PROTOCOL:
        raise Refused(
            f"this job speaks protocol {PROTOCOL}, the {answer.role} {answer.protocol}: install the "
            "same version of cordee on all hosts"
        )
    if not fits(secret, nonce, answer.proof):
        raise Refused(f"the {answer.role} does not know the secret of this job")


def new_secret() -> str:
    """A secret for one job."""
    return secrets.token_hex(16)


def read_exactly(connection: socket.socket, size: int) -> bytearray:
    """So many bytes. Raises `EOFError` where the other side ends before."""
    data = bytearray(size)
    view = memoryview(data)
    at = 0
    while at < size:
        count = connection.recv_into(view[at:])
        if count == 0:
            raise EOFError
        at += count
    return data


def read_body(connection: socket.socket) -> bytes:
    """The next message, not yet read. Raises `EOFError`, `Refused` where it is too long to be one."""
    (size,) = LENGTH.unpack(read_exactly(connection, LENGTH.size))
    if size > MESSAGE_MOST:
        raise Refused(f"a message of {size} bytes: is this a cordee job?")
    return bytes(read_exactly(connection, size))


def address(text: str) -> tuple[str, int]:
    """HOST:PORT taken apart. Raises `Refused`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise Refused(f"{text!r} is no HOST:PORT")
    return host.strip("[]"), int(port)
