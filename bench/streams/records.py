"""The records that all systems read, and what a batch query makes of them.

A record is about 102 bytes of JSON:
  {"site":"s-000042","kw":57.318,"ts":1763805642000,"unit":"kW","quality":192,"phase":"L1","seq":42042}

A series has one every `cadence` ms of event time; 1 % come up to 10 s after newer ones, 0.1 % when
their minute has long been closed. Everything follows from the seed.
"""

from dataclasses import dataclass

import duckdb
import numpy as np

START = 1_763_805_600_000  # ms; a full minute
MINUTE = 60_000
DELAY = 10_000  # ms that a record may come after newer ones
TAIL = 30_000  # ms behind the last minute that is to close, so that it does


@dataclass(frozen=True)
class Set:
    """What a topic holds."""

    name: str
    series: int
    cadence: int  # ms between two records of a series
    minutes: int  # that close
    partitions: int
    seed: int = 7

    @property
    def records(self):
        return self.series * (self.minutes * MINUTE + TAIL) // self.cadence

    @property
    def windows(self):
        return self.series * self.minutes


def sets():
    """Returns all sets by name."""
    shapes = {
        "small": (100, 1_000, 20),  # 123,000 records
        "1k": (1_000, 1_000, 100),  # 6 million
        "1k-short": (1_000, 1_000, 10),
        "100k": (100_000, 10_000, 10),  # 6 million
        "100k-short": (100_000, 10_000, 2),
    }
    found = {}
    for name, (series, cadence, minutes) in shapes.items():
        for partitions in (1, 4):
            one = Set(f"{name}-p{partitions}", series, cadence, minutes, partitions)
            found[one.name] = one
    return found


def columns(of):
    """Returns series, ts (ms) and kw (thousandths) in the order in which they are sent."""
    random = np.random.default_rng(of.seed)
    index = np.arange(of.records, dtype=np.int64)
    series = index % of.series
    now = index * of.cadence // of.series  # ms since START when it is sent
    behind = np.zeros(of.records, dtype=np.int64)
    draw = random.random(of.records)
    straggles = draw < 0.01
    behind[straggles] = random.random(straggles.sum()) * (DELAY - 10)
    is_late = (draw > 0.999) & (now > 130_000)
    furthest = np.minimum(300_000, now[is_late] - 50_000)
    behind[is_late] = 70_000 + random.random(is_late.sum()) * (furthest - 70_000)
    ts = START + np.maximum(now - behind, 0)
    wave = 50_000 + 30_000 * np.sin(2 * np.pi * (now / 3.6e6 + series / of.series))
    kw = (wave + 5_000 * random.standard_normal(of.records)).astype(np.int64)
    return series, ts, kw


def payload(series, ts, kw, index):
    """Returns a record's key and value."""
    key = b"s-%06d" % series
    sign = b"-" if kw < 0 else b""
    value = b'{"site":"%s","kw":%s%d.%03d,"ts":%d,"unit":"kW","quality":192,"phase":"L%d","seq":%d}'
    return key, value % (key, sign, abs(kw) // 1000, abs(kw) % 1000, ts, series % 3 + 1, index)


ANSWER = f"""
WITH sent AS (
  SELECT *, max(ts) OVER (PARTITION BY part ORDER BY place
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest
  FROM records
), placed AS (
  SELECT series, kw, (ts // {MINUTE} + 1) * {MINUTE} AS window_end,
         window_end <= coalesce(newest, 0) - {DELAY} AS is_late
  FROM sent
)
SELECT series, window_end, count(*) FILTER (NOT is_late)::BIGINT,
       coalesce(sum(kw) FILTER (NOT is_late), 0) / 1000.0, list(kw / 1000.0) FILTER (is_late)
FROM placed WHERE window_end <= {{end}} GROUP BY series, window_end
"""


def answer(of):
    """Returns by (series, window end in ms): the number of records that count, their sum, and the
    values of late ones. Late is a record whose minute ended 10 s or more before the newest one
    before it in its partition."""
    series, ts, kw = columns(of)
    place = np.arange(len(ts), dtype=np.int64)
    records = {"place": place, "part": series % of.partitions, "series": series, "ts": ts, "kw": kw}
    database = duckdb.connect()
    database.execute("SET threads = 2")
    database.register("records", records)
    rows = database.execute(ANSWER.format(end=START + of.minutes * MINUTE)).fetchall()
    return {(series, end): (count, float(total), late or []) for series, end, count, total, late in rows}
