"""People who take desktops over the API, while the web itself may be away: they ask again until they are answered."""

import random
import threading
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from tests.load.record import Answer
from tests.running import Person

TRY_AGAIN_S = 0.3
PATIENCE_S = (5.0, 60.0)  # that one may have with a desktop that does not come


class Visitor(threading.Thread):
    """Takes a desktop, waits, gets its file, works for a while, and gives it back; over and over.

    Each wish has an Idempotency-Key: who got no answer asks again with the same, and must be given the same.
    """

    def __init__(self, person: Person, pool_id: str, pool_name: str, seed: int, over: threading.Event) -> None:
        super().__init__(daemon=True, name=person.name)
        self._http = person.http
        self._person, self._pool_id, self._pool_name, self._over = person.name, pool_id, pool_name, over
        self._lots = random.Random(f"{seed}/{person.name}")
        self.answers: list[Answer] = []
        self.files = 0

    def run(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            wish = self._take(f"{self._person}/{number}")
            if wish is not None:
                self._work(wish)
                self._give_back(wish)
            self._over.wait(self._lots.uniform(0, 2))

    def _take(self, key: str) -> UUID | None:
        while not self._over.is_set():
            answer = self._ask("take", f"/pools/{self._pool_id}/take", key=key)
            if answer is None or answer.status_code == 503:
                continue
            if answer.status_code not in (200, 201):
                return None
            if self._lots.random() < 0.5:  # double click
                self._ask("take", f"/pools/{self._pool_id}/take", key=key)
            return UUID(answer.json()["id"])
        return None

    def _work(self, wish: UUID) -> None:
        """Until it is ready and was used for a while, or patience is at its end."""
        until = time.monotonic() + self._lots.uniform(*PATIENCE_S)
        while not self._over.is_set() and time.monotonic() < until:
            now = self._look(wish)
            if now and now["state"] in ("returning", "ended"):
                return
            if now and now["state"] == "ready":
                answer = self._ask("console", f"/requests/{wish}/console", request=wish)
                if answer is not None and answer.status_code == 200:
                    self.files += 1
                    self._over.wait(self._lots.uniform(0, 4))
                    return
            self._over.wait(TRY_AGAIN_S)

    def _look(self, wish: UUID) -> dict[str, Any] | None:
        try:
            answer = self._http.get(f"/requests/{wish}")
        except httpx.HTTPError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def _give_back(self, wish: UUID) -> None:
        while not self._over.is_set():
            answer = self._ask("give back", f"/requests/{wish}/return", request=wish)
            if answer is not None and answer.status_code in (202, 404, 409):
                return

    def _ask(self, verb: str, path: str, *, key: str | None = None, request: UUID | None = None) -> Any:
        """The answer, written down; null when there was none."""
        asked_at = datetime.now(UTC)
        try:
            answer = self._http.post(path, headers={"Idempotency-Key": key} if key else {})
        except httpx.HTTPError:
            self._over.wait(TRY_AGAIN_S)
            return None
        refusal = None
        if answer.status_code == 500:
            refusal = "HTTP 500"
        elif answer.status_code >= 400:
            refusal = answer.json()["error"]
            self._over.wait(TRY_AGAIN_S)
        elif verb == "take":
            request = UUID(answer.json()["id"])
        told_at = datetime.now(UTC)
        self.answers.append(
            Answer(asked_at, told_at, self._person, verb, self._pool_name, request=request, key=key, refusal=refusal)
        )
        return answer
