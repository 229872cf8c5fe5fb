"""One history: clients, servers and faults, from a seed to a judgement."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

from logship._buffer import losses, ranges
from logship._delivery.drain import DrainPlan
from tests.simulation import inspection
from tests.simulation.accounts import check_account, check_holdings, check_report
from tests.simulation.client import SimulatedClient
from tests.simulation.clock import VirtualClock
from tests.simulation.disk import Killed, SimulatedDisk, draw_disk, without_poison
from tests.simulation.estate import Stamp
from tests.simulation.judge import Judge
from tests.simulation.network import Link
from tests.simulation.options import NONE_FORCED, Forced, Options, draw_options
from tests.simulation.port import SimulatedPort
from tests.simulation.recovery_faults import draw_recovery
from tests.simulation.server import SimulatedServer
from tests.simulation.wire import Violation
from tests.support.packing import pack_record

EVENTS_MAX = 200_000
"""A history that is longer than this does not come to rest. The longest seen (9023) has 88,000:
a server that drops what is too long in silence costs two ack timeouts for each split."""

_NOTES_MAX = 100
_POISON_MAX = 4
_TEXT = "all work and no play makes jack a dull boy; " * 400
_WAITING_MAX = 5
_LAST_DRAIN_SECONDS = 100_000.0
_STALL_SLACK_SECONDS = 60.0
_OVERTAKEN_SECONDS = 20.0


class History:
    """What happens in one seed.

    Args:
        seed: Everything else follows from it.
        forced: Forced that are not drawn, by name.
        noted: Whether notes are kept for a person.

    Attributes:
        fired: How often each fault has happened.
        draw: Where all chance comes from, but for that of the disk.
        disk: What lies under the spool, where there is one.
    """

    def __init__(self, seed: int, forced: Forced = NONE_FORCED, *, noted: bool = False) -> None:
        self.draw = Random(seed)
        random.seed(seed)  # the clients' waits are drawn from the global one
        self.options: Options = draw_options(seed, self.draw, forced)
        self.clock = VirtualClock()
        drawn = draw_disk(seed, self.options)
        recovery = None if drawn is None else draw_recovery(seed, self.options)
        if drawn is not None:
            self.options = replace(without_poison(self.options), hands_over_many=False)
        elif self.options.hands_over_many:  # less happens for each record, so there are more
            self.options = replace(self.options, records=3 * self.options.records)
        if recovery is not None:
            self.options = recovery[0].poisoned(self.options)
        self.judge = Judge(self.options)
        self.fired: Counter[str] = Counter()
        self.notes: list[str] = []
        self.disk = None if drawn is None else SimulatedDisk(self, *drawn, recovery)
        self._withheld = Random(f"{self.options.seed} withheld")
        self._late = Random(f"{self.options.seed} late timers")
        self._noted = noted
        self._healed = False
        self._over = False
        self._final_since: float | None = None
        self._only_poison_since: float | None = None
        self._recovers_since = 0.0
        self._is_last = True
        self._clients = 0
        self._serial = 0
        self._poison = 0
        self._since_look = 0
        self._records_left = self.options.records
        self.servers = [SimulatedServer(self, each) for each in range(self.options.endpoints)]
        self.client: SimulatedClient | None = None

    def run(self) -> None:
        """Let it happen.

        Raises:
            Violation: The client broke its promise. Any other exception is a bug as well.
        """
        bounds = ranges.GAPS_MAX, losses.LOST_MAX
        ranges.GAPS_MAX, losses.LOST_MAX = self.options.gaps_max, self.options.lost_max
        try:
            if self.disk is not None:
                self.judge.estate = self.disk.estate
                self.disk.begin()
            self._run()
        finally:
            ranges.GAPS_MAX, losses.LOST_MAX = bounds
            if self.disk is not None:
                self.disk.remove()

    def _run(self) -> None:
        options, clock = self.options, self.clock
        try:
            self._start_client()
        except Killed:
            self._killed()
        clock.after(0.0, self._produce)
        for seconds, name in options.moments:
            clock.at(seconds, self._moment, name)
        clock.at(options.heals_seconds, self._heal)
        end = max(options.heals_seconds, options.records * options.record_seconds)
        clock.at(end + self.draw.uniform(0.0, 2.0), self._begin_end)
        while not self._over:
            try:
                if not clock.step():
                    raise Violation("nothing will ever happen again, and records wait")
            except Killed:
                self._killed()
            self._check()

    # -- for those who act in it -----------------------------------------------------------------

    def rate(self, name: str) -> float:
        return 0.0 if self._healed else self.options.rates.get(name, 0.0)

    def late(self) -> float:
        """Return how many seconds later the next timer rings than it should."""
        return self._late.uniform(0.0, self.options.timer_late_seconds)

    def strike(self, names: Iterable[str]) -> str | None:
        """Draw which of these faults happens now, if any."""
        if self._healed:
            return None
        rates = self.options.rates
        chance = self.draw.random()
        for name in names:
            chance -= rates.get(name, 0.0)
            if chance < 0.0:
                self.fired[name] += 1
                self.note("fault: %s", name)
                return name
        return None

    def note(self, text: str, *details: object) -> None:
        """Keep a line for a person who wants to know what happened."""
        if self._noted:
            number = self._clients
            self.notes.append(f"{self.clock.now:12.6f}  client {number}: {text % details}")
            if len(self.notes) > _NOTES_MAX:
                del self.notes[0]

    def connect(self, port: SimulatedPort, attempt: int, index: int) -> None:
        options, server = self.options, self.servers[index]
        fault = self.strike(("refuse", "hang"))
        if fault == "hang":
            self.clock.after(options.connect_timeout_seconds, port.connect_ended, attempt, None)
        elif fault == "refuse" or not server.is_up:
            self.clock.after(options.latency_seconds, port.connect_ended, attempt, None)
        else:
            self.clock.after(options.latency_seconds, self._accept, port, attempt, server)

    def client_reported(self, client: SimulatedClient, report: str) -> None:
        self._check_holdings()
        check_report(self.options, client.life, report, inspection.stderr_lines(client))
        if self.disk is not None:
            left_out = client.life.may_leave_out(self.options.lost_max)
            named = _named_in(report) | left_out
            self.disk.estate.excused(client.life, given_up=named, untold=named)
        if self._final_since is not None:
            silent_seconds = self.clock.now - self.judge.acked_seconds
            self.judge.drained(client.life, report, inspection.held(client), silent_seconds)

    def client_closed(self, client: SimulatedClient) -> None:
        self._count(client)
        if self._final_since is None:
            self.clock.after(self.draw.uniform(0.0, 2.0), self._start_client)
        elif self.disk is not None and not (client.is_recoverer and self._is_last):
            self._start_recoverer(self.disk)
        else:
            self._over = True

    def crash(self) -> None:
        """Kill the client's process between two events, because of its disk's history."""
        if not self._healed and self.client is not None:
            self.fired["disk crash"] += 1
            self.note("fault: disk crash")
            self._crash_client()

    # -- what happens ----------------------------------------------------------------------------

    def _start_client(self) -> None:
        self._clients += 1
        client = self.client = SimulatedClient(self, self._clients)
        client.pump.start()

    def _start_recoverer(self, disk: SimulatedDisk) -> None:
        """Ship what is left on the spool: while things fail, and in the end while nothing does."""
        faults = disk.faults
        self._is_last = faults is None or not faults.recoverers_left
        if faults is not None and self._is_last:
            faults.heal()
            self.fired["recovers again"] += faults.options.recoverers > 0
        elif faults is not None:
            faults.begin_again()
        self._recovers_since, self._only_poison_since = self.clock.now, None
        self._clients += 1
        self.note("recovery")
        client = self.client = SimulatedClient(self, self._clients, is_recoverer=True)
        client.pump.start()
        self.clock.after(1.0, self._watch_recovery, client, disk)

    def _watch_recovery(self, client: SimulatedClient, disk: SimulatedDisk) -> None:
        self.clock.events -= 1
        if client is not self.client:
            return  # it was killed
        unproven = {} if client.has_recovered() else inspection.unproven(client)
        if not client.has_recovered() and not self._has_only_poison(unproven):
            self._check_patience(client)
            self.clock.after(1.0, self._watch_recovery, client, disk)
            return
        client.shut()
        if self._is_last:
            self.fired["poison left"] += sum(map(len, unproven.values()))
            left = disk.left()
            noted = {name: disk.noted(name) for name in left}
            disk.estate.settle(left, unproven, disk.quarantined(), noted)
        self.client_closed(client)

    def _has_only_poison(self, unproven: dict[str, set[Stamp]]) -> bool:
        """Tell whether nothing but that has been there for as long as anything may take."""
        if not unproven:
            self._only_poison_since = None
        elif self._only_poison_since is None:
            self._only_poison_since = self.clock.now
        since = self._only_poison_since
        return since is not None and self.clock.now > since + self._patience_seconds

    def _accept(self, port: SimulatedPort, attempt: int, server: SimulatedServer) -> None:
        if not server.is_up:
            port.connect_ended(attempt, None)
            return
        link = Link(self, port, server)
        server.accept(link)
        port.connect_ended(attempt, link)

    def _produce(self) -> None:
        """Log a record, or a burst of them at once, and arrange for the next."""
        options = self.options
        at_once = options.burst_records if options.hands_over_many else 1
        count = min(at_once, self._records_left)
        self._records_left -= count
        client = self.client
        if client is not None and at_once > 1:
            records = [self._record() for _ in range(count)]
            tag = f"tag{self.draw.randrange(options.tags)}"
            client.send_many(tag, records, self.clock.time_ns())
            self.clock.events += count - 1  # as many as if they came one by one
        elif client is not None:
            record = self._record()
            body = pack_record(record, self.clock.time_ns())
            tag = f"tag{self.draw.randrange(options.tags)}"
            waits = self.draw.random() < options.waits_for_space
            try:
                if self._withheld.random() < options.withholds:
                    client.withhold(tag)
                elif waits and client.waiting < _WAITING_MAX:
                    client.put(tag, body)
                else:
                    client.emit(tag, body)
            except Killed:
                self._killed()
        if self._records_left:
            gap = 0.0
            if at_once > 1 or self._records_left % options.burst_records == 0:
                mean = options.record_seconds * options.burst_records
                gap = self.draw.uniform(0.0, 2.0) * mean
            self.clock.after(gap, self._produce)

    def _record(self) -> dict[str, object]:
        """Return a record, seldom one that no server takes."""
        options = self.options
        self._serial += 1
        size = int(self.draw.random() * options.text_bytes_max)
        record: dict[str, object] = {"serial": self._serial}
        if self._poison < _POISON_MAX:
            rates, chance = options.rates, self.draw.random()
            if chance < rates.get("poison closes", 0.0):
                record["poison"] = "closes"
            elif chance < rates.get("poison closes", 0.0) + rates.get("poison ignored", 0.0):
                record["poison"] = "ignored"
            elif 1.0 - chance < rates.get("too large", 0.0) and options.frame_bytes_max:
                size = options.frame_bytes_max
                self._poison += 1
            self._poison += "poison" in record
        record["text"] = _TEXT[:size]
        return record

    def _moment(self, name: str) -> None:
        """Let a fault begin that lasts for a while, or strikes once."""
        if self._healed:
            return
        self.note("fault: %s", name)
        server = self.draw.choice(self.servers)
        act: dict[str, Callable[[], None]] = {
            "client crash": self._crash_client,
            "client close": self._close_client,
            "reset": server.reset,
            "crash": lambda: server.crash(self.draw.uniform(0.0, 3.0), vanishes=False),
            "vanish": lambda: server.crash(self.draw.uniform(0.0, 3.0), vanishes=True),
        }
        if name in act:
            self.fired[name] += 1
            act[name]()
        else:
            server.begin(name, self.draw.uniform(0.0, 20.0))

    def _crash_client(self) -> None:
        client = self.client
        if client is not None:
            self._check_holdings()
            self._bury(client)

    def _killed(self) -> None:
        """The client's process was killed by what it did: it must not be asked any more."""
        client = self.client
        assert client is not None
        self.note("killed in the middle of a store")
        self._bury(client)

    def _count(self, client: SimulatedClient) -> None:
        """Count what happened in a client that is no more."""
        self.fired["stderr stalls"] += client.stderr.stalls
        self.client = None

    def _bury(self, client: SimulatedClient) -> None:
        client.die()
        self._count(client)
        seconds = self.draw.uniform(0.0, 2.0)
        if client.is_recoverer and self.disk is not None:
            self.clock.after(seconds, self._start_recoverer, self.disk)
        else:
            self.clock.after(seconds, self._start_client)

    def _close_client(self) -> None:
        client, now = self.client, self.clock.now
        if client is None or client.life.is_closing:
            return
        plan = DrainPlan.until(now, now + self.draw.uniform(0.0, 10.0))
        if self.draw.random() < 0.3:
            plan = DrainPlan.by_itself(now, self.draw.uniform(0.1, 15.0), 30.0)
        client.close(plan, "close")

    def _heal(self) -> None:
        self.note("everything heals")
        self._healed = True
        for server in self.servers:
            server.heal()
        if self.disk is not None:
            self.disk.heal()
        if self.client is not None:
            self.client.stderr.heal()

    # -- the end ---------------------------------------------------------------------------------

    def _begin_end(self) -> None:
        """End the last client, once it is there and everything was logged.

        It is closed, or flushed first, or left alone until it has sent everything by itself.
        """
        client = self.client
        if client is None or client.life.is_closing or self._records_left:
            self.clock.after(1.0, self._begin_end)
            return
        self._final_since = self.clock.now
        if self.options.flushes_first and self.options.seed % 2:
            self.note("flush")
            client.flush()
        elif self.options.flushes_first:
            self.note("is left alone")
        else:
            self._close_last()
        self.clock.after(1.0, self._watch)

    def _close_last(self) -> None:
        client, now = self.client, self.clock.now
        assert client is not None
        client.close(DrainPlan.until(now, now + _LAST_DRAIN_SECONDS), "close")

    def _watch(self) -> None:
        """See to it that something goes on, and close the client when its flush is over."""
        self.clock.events -= 1
        client, now, patience = self.client, self.clock.now, self._patience_seconds
        if client is None or client.is_recoverer:
            return
        if self._only_poison_waits(client):
            if not client.life.is_closing:
                self._close_last()
            elif self._only_poison_since is None:
                self._only_poison_since = now
            elif now > self._only_poison_since + patience:
                client.limit(DrainPlan.until(now, now + 1.0))
        self._check_patience(client)
        self.clock.after(patience / 10, self._watch)

    @property
    def _patience_seconds(self) -> float:
        """How long it may take at most until something goes on."""
        options = self.options
        return (
            options.ack_timeout_seconds
            + options.connect_timeout_seconds
            + options.backoff_seconds_max
            + options.linger_seconds
            + _OVERTAKEN_SECONDS
            + _STALL_SLACK_SECONDS
        )

    def _check_patience(self, client: SimulatedClient) -> None:
        assert self._final_since is not None
        began = max(self._final_since, self._recovers_since)
        silent = self.clock.now - max(began, self.judge.progress_seconds)
        if silent > self._patience_seconds:
            raise Violation(f"nothing was acked or refused for {silent:.0f} s: {client.delivery!r}")

    def _only_poison_waits(self, client: SimulatedClient) -> bool:
        """Tell whether what is left are single records that no server takes."""
        if not self.judge.refusals:
            return not client.buffer.unsettled()
        held = inspection.held(client)
        return all(len(each.numbers) == 1 and self.judge.is_poison(each) for each in held)

    # -- the judge's eye -------------------------------------------------------------------------

    def _check(self) -> None:
        client = self.client
        if client is None:
            return
        life = client.life
        if inspection.counted(client) != (life.accepted, life.acked, life.refused):
            check_account(life, inspection.account(client))
        link = client.port.link
        if link is not None and link.outstanding:
            self.judge.check_silence(link, self.clock.now)
        self._since_look += 1
        if self._since_look >= self.options.look_every:
            self._check_holdings()
        if self.clock.events > EVENTS_MAX:
            raise Violation(f"does not come to rest: {client.delivery!r}")

    def _check_holdings(self) -> None:
        self._since_look = 0
        client = self.client
        if client is not None:
            check_holdings(self.options, inspection.account(client), inspection.holdings(client))
            inspection.check_disk(client)
            inspection.check_locks(client)


def _named_in(report: str) -> set[tuple[str, int]]:
    """Return the numbers that a report says are not, and will not be, delivered."""
    return {
        (each["stream"], number)
        for each in json.loads(report)["streams"]
        for key in ("spilled", "dropped", "unacked")
        for first, last, *_ in each[key]
        for number in range(first, last + 1)
    }
