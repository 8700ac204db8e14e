"""What agents say to the coordinator and to each other, as `wire` has what workers say."""

from cordee.train.policy.council import Ask, Grant, Pulse, Roll
from cordee.train.policy.succession import Known
from cordee.train.wire import Challenge, Leave, Message

# What the agent of a host says to the coordinator.


class Present(Message, tag="present", frozen=True):
    """An agent is there."""

    host: int
    name: str
    workers: dict[int, int]
    """Those that it runs, and the rank of each."""
    most: int | None
    """So many it can run; None: as many as are wanted."""
    seen: int = 0
    """Events of this coordinator that it has."""


class Alive(Message, tag="alive", frozen=True):
    """It still is."""


class Room(Message, tag="room", frozen=True):
    """It can run another number of workers now."""

    most: int | None


class Ended(Message, tag="ended", frozen=True):
    """The process of a worker has ended."""

    worker: int
    reason: str


class Interrupted(Message, tag="interrupted", frozen=True):
    """Someone wants the job to end."""


FromAgent = Present | Alive | Room | Ended | Interrupted


# What agents say to each other.


class Join(Message, tag="join", frozen=True):
    """A host wants to take part in a job."""

    job: str
    """What the job is called."""
    address: str
    """HOST:PORT of its agent."""
    rank: int
    """Its number, if it is to have that at first; -1: whichever."""


class Elsewhere(Message, tag="elsewhere", frozen=True):
    """This host does not decide who takes part."""

    leader: str
    """HOST:PORT of the agent who does; none: nobody yet."""


class Roster(Message, tag="roster", frozen=True):
    """The hosts of a job."""

    you: int
    hosts: dict[int, str]
    """HOST:PORT of each agent."""
    roll: Roll


class Spoken(Message, tag="spoken", frozen=True):
    """What the host of the sender has to say about who leads."""

    host: int
    address: str
    seat: str
    """HOST:PORT of its coordinator; none where it has none."""
    pulse: Pulse | None = None
    ask: Ask | None = None
    grant: Grant | None = None


FromHost = Challenge | Join | Elsewhere | Roster | Spoken | Leave


# What the coordinator says to agents.


class Start(Message, tag="start", frozen=True):
    """Start a worker."""

    worker: int
    rank: int
    """Among all that run: one that replaces another has its rank."""


class End(Message, tag="end", frozen=True):
    """End a worker, by force."""

    worker: int


class Happened(Message, tag="happened", frozen=True):
    """An event for the journal."""

    event: dict[str, object]


class Remember(Message, tag="remember", frozen=True):
    """What another coordinator needs to know, should this one be gone."""

    known: Known


class Over(Message, tag="over", frozen=True):
    """The job is over: with an error where it could not go on."""

    error: str | None


ToAgent = Challenge | Alive | Start | End | Happened | Remember | Over | Leave
