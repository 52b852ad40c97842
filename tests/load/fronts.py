"""The processes that people talk to: each works off what it is sent, one act after the other."""

import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

from tests.load.checker import Harm, Violation
from tests.load.crowd import Act
from tests.load.record import Answer

COUNT = 4  # as many as click at once
MOST_AT_A_TIME = 2
PATIENCE_S = 30.0


def _work(pipe: Connection) -> None:
    from tests.load.front import work

    work(pipe)


class Front:
    """One process, and what it answered so far."""

    def __init__(self, number: int, context: ForkServerContext) -> None:
        self.name = f"front{number}"
        self.answers: list[Answer] = []
        self.sent = 0
        self.killed = False
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), name=self.name, daemon=True)
        self._process.start()
        theirs.close()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        while True:
            try:
                self.answers.append(self._pipe.recv())
            except (EOFError, OSError):
                return

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def busy(self) -> int:
        """Acts that it was sent and has not answered."""
        return self.sent - len(self.answers)

    def send(self, act: Act) -> None:
        self.sent += 1
        try:
            self._pipe.send(act)
        except OSError:
            return  # it died this moment: what it was sent is not answered

    def kill(self) -> None:
        self.killed = True
        self._process.kill()
        self._process.join()
        self._listener.join()


class Fronts:
    """All of them, and those that were before. They are forked off one that has loaded everything already."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        # The first sets Django up, as in a web process.
        self._context.set_forkserver_preload(["portal.asgi", "tests.load.front"])
        self._all: list[Front] = []
        self._present = [self._start() for _number in range(COUNT)]

    def _start(self) -> Front:
        front = Front(len(self._all), self._context)
        self._all.append(front)
        return front

    def take_up(self, act: Act, lots: random.Random) -> bool:
        """Hand it to as many of them as it has clicks; False while too few have time for it."""
        self._present = [front if front.alive else self._start() for front in self._present]
        free = [front for front in self._present if front.busy < MOST_AT_A_TIME]
        if len(free) < act.clicks:
            return False
        for front in lots.sample(free, act.clicks):
            front.send(act)
        return True

    def kill_one(self, lots: random.Random) -> None:
        """In the middle of whatever it does."""
        lots.choice(self._present).kill()

    def finish(self, meanwhile: Callable[[], None]) -> list[Violation]:
        """Wait until all that was sent is answered, and end them; those that had ended before, or never answer."""
        deadline = time.monotonic() + PATIENCE_S
        while any(front.alive and front.busy for front in self._present) and time.monotonic() < deadline:
            meanwhile()
            time.sleep(0.02)
        lost = [front for front in self._all if not front.killed and (front.busy or not front.alive)]
        for front in self._present:
            front.kill()
        text = "{} left {} acts unanswered, and nobody had killed it: what it says stands above"
        return [Violation("errors", Harm.LOST, text.format(front.name, front.busy)) for front in lost]

    def answers(self) -> list[Answer]:
        """What everybody was told so far, by time."""
        return sorted((answer for front in self._all for answer in front.answers), key=lambda one: one.told_at)
