"""Runs systems over sets, compares their rows with a batch answer and sums up: see run.sh."""

import datetime
import itertools
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

import orjson

from machine import ROOT, WORK, Everybody, Kafka, Watched, await_quiet, end_of
from records import MINUTE, START, answer, columns, payload, sets

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 400  # s that a run may take
ALL = ["bare@1k-p4", "tidecast@1k-p4", "flink@1k-p4", "kstreams@1k-p4", "quix@1k-short-p4",
       "bare@1k-p1", "tidecast@1k-p1", "flink@1k-p1", "kstreams@1k-p1", "quix@1k-short-p1",
       "bare@100k-p4", "tidecast@100k-p4", "flink@100k-p4", "kstreams@100k-p4", "quix@100k-short-p4",
       "bare@100k-p1", "tidecast@100k-p1", "flink@100k-p1", "kstreams@100k-p1", "quix@100k-short-p1"]
QUICK = [f"{system}@small-p4" for system in ("bare", "tidecast", "flink", "kstreams", "quix")]


def say(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


def fill(kafka, of):
    """Sends the records of a set, unless they are there. Returns the topic."""
    topic = f"records-{of.name}"
    if topic in kafka.topics():
        if end_of(kafka.consumer(topic, of.partitions), topic, of.partitions) == of.records:
            return topic
        kafka.delete([topic])
        time.sleep(2)
    say(f"sending {of.records} records of {of.name}")
    kafka.create(topic, of.partitions)
    producer = kafka.producer()
    for index, (series, ts, kw) in enumerate(zip(*(column.tolist() for column in columns(of)))):
        key, value = payload(series, ts, kw, index)
        while True:
            try:
                producer.produce(topic, value, key, series % of.partitions)
                break
            except BufferError:
                producer.poll(0.1)
        if index % 10_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit("records were not sent")
    return topic


def java(peer, main, *arguments):
    opens = [f"--add-opens=java.base/java.{part}=ALL-UNNAMED" for part in ("util", "lang", "time")]
    return ["java", "-Xmx2g", *opens, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp", str(WORK / peer / "lib/*"), main, *map(str, arguments)]


def command(system, kafka, of, source, sink, group, folder):
    """Returns what is started, and how many seconds of silence say that all is out."""
    if system == "tidecast":
        text = (HERE / "windows.sql").read_text()
        for name, word in (("source", source), ("sink", sink), ("group", group)):
            text = text.replace("{" + name + "}", word)
        script = folder / "windows.sql"
        script.write_text(text)
        return [os.environ["TIDECAST"], "run", str(script), "--set",
                f"kafka.bootstrap_servers={kafka.bootstrap}", "--set", f"state.url={folder}/state",
                "--set", "server.listen=127.0.0.1:0"], 2
    if system == "flink":
        return java("flink", "streams.FlinkWindows", kafka.bootstrap, source, sink, group,
                    of.partitions, (folder / "checkpoints").as_uri()), 13
    if system == "kstreams":
        return java("kstreams", "streams.KStreamsWindows", kafka.bootstrap, source, sink, group,
                    folder / "state"), 13
    if system == "quix":
        return [sys.executable, str(HERE / "peers/quix_windows.py"), kafka.bootstrap, source, sink,
                group, str(folder / "state")], 7
    raise SystemExit(f"unknown system `{system}`; see run.sh --help")


def rows_of(kafka, system, sink, of):
    """Returns all committed rows: (append time in s, series, number of the window from 1, mean)."""
    ends = {}  # as the systems write them
    for number in range(1, of.minutes + 2):
        end = START + number * MINUTE
        at = datetime.datetime.fromtimestamp(end / 1000, datetime.timezone.utc)
        for text in (at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S"), end):
            ends[text] = number
    consumer, rows, silent = kafka.consumer(sink, of.partitions), [], 0
    while silent < 3:
        batch = consumer.consume(20_000, 1.0)
        silent = 0 if batch else silent + 1
        for message in batch:
            if message.error():
                raise SystemExit(str(message.error()))
            row = orjson.loads(message.value())
            if system == "tidecast":
                site, end, kw = row["series"]["site"], row["origin"], row["variates"][0]["mean"][0]
            elif system == "quix":
                site, end, kw = message.key().decode(), row["end"], row["kw"]
            else:
                site, end, kw = row["site"], row["window_end"], row["kw"]
            rows.append((message.timestamp()[1] / 1000, int(site[2:]), ends.get(end, 0), kw))
    consumer.close()
    return rows


def compared(rows, of, expected):
    """Counts rows: equal to the batch answer, equal to it with some late records, wrong, missing,
    told twice, unexpected."""
    found = {}
    for _, series, number, kw in rows:
        if number <= of.minutes:
            found.setdefault((series, START + number * MINUTE), []).append(kw)
    counts = dict(equal=0, late_counted=0, wrong=0, missing=0, twice=0, unexpected=0)

    def same(one, other):
        return abs(one - other) <= 1e-9 * max(1.0, abs(other))

    for key, (count, total, late) in expected.items():
        got = found.pop(key, [])
        counts["twice"] += max(0, len(got) - 1)
        if not got:
            counts["missing"] += count > 0
        elif count and same(got[0], total / count):
            counts["equal"] += 1
        else:
            some = itertools.chain.from_iterable(
                itertools.combinations(late, size) for size in range(1, min(len(late), 10) + 1))
            is_late = any(same(got[0], (total + sum(more)) / (count + len(more))) for more in some)
            counts["late_counted" if is_late else "wrong"] += 1
    counts["unexpected"] = sum(map(len, found.values()))
    return counts


def bare(kafka, of, source, folder):
    line = [os.environ["BARE"], kafka.bootstrap, source, str(of.partitions), str(of.records)]
    watched = Watched(line, folder / "log", every=0.02)
    while watched.is_alive():
        time.sleep(0.02)
    watched.end()
    said = json.loads((folder / "log").read_text().splitlines()[-1])
    cpu = watched.samples[-1][1]
    return {"records_per_second": round(of.records / said["seconds"]),
            "cpu_s_per_million": round(1e6 * cpu / of.records, 3),
            "peak_rss_mib": watched.peak_kib >> 10}


def measured(kafka, system, of, expected):
    """Runs a system over a set once."""
    source = fill(kafka, of)
    name = f"{system}-{of.name}-{time.time_ns() // 1_000_000}"
    folder = WORK / "runs" / name
    folder.mkdir(parents=True)
    await_quiet()
    if system == "bare":
        return bare(kafka, of, source, folder)
    before, sink = kafka.topics(), f"minutes-{name}"
    kafka.create(sink, of.partitions, **{"message.timestamp.type": "LogAppendTime"})
    line, silence = command(system, kafka, of, source, sink, name, folder)
    ends = kafka.consumer(sink, of.partitions, "read_uncommitted")
    broker, everybody = Watched(pid=kafka.pid), Everybody()
    began = grown = time.time()
    watched, size, failed = Watched(line, folder / "log"), 0, None
    while not (size >= of.windows and time.time() - grown > silence):
        time.sleep(0.25)
        end = end_of(ends, sink, of.partitions)
        if end > size:
            size, grown = end, time.time()
        if not watched.is_alive():
            failed = f"ended by itself: {folder}/log"
        elif time.time() - began > PATIENCE:
            failed = f"not done after {PATIENCE} s: {size} of {of.windows} rows"
        if failed:
            break
    for one in (watched, broker, everybody):
        one.end()
    ends.close()
    rows = rows_of(kafka, system, sink, of)
    entry = speed(rows, of, watched, broker, everybody)
    entry |= {"peak_rss_mib": watched.peak_kib >> 10, "rows": compared(rows, of, expected)}
    if failed:
        entry["failed"] = failed
    kafka.delete([topic for topic in kafka.topics() - before if not topic.startswith("__")])
    for part in folder.iterdir():
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
    return entry


def speed(rows, of, watched, broker, everybody):
    """Returns rates between the last row of the first minute and that of the last one, so that
    starting is not in them; `warm` is the later half of the minutes, when what is hot has been
    compiled. Of less than a second there are none."""
    last, seen = {}, set()
    for at, series, number, _ in rows:
        if 1 <= number <= of.minutes and (series, number) not in seen:
            seen.add((series, number))
            last[number] = max(at, last.get(number, 0))
    done, entry = sorted(last), {}
    if len(done) < 2:
        return entry
    for label, first in (("", done[0]), ("warm_", done[(len(done) - 1) // 2])):
        start, end = last[first], last[done[-1]]
        records = (done[-1] - first) * of.series * MINUTE // of.cadence
        seconds = end - start
        if seconds < 1:  # out in one transaction: nothing to tell
            continue
        own, its = watched.cpu_between(start, end), broker.cpu_between(start, end)
        others = everybody.cpu_between(start, end) - own - its
        entry |= {f"{label}records_per_second": round(records / seconds),
                  f"{label}cpu_s_per_million": round(1e6 * own / records, 3),
                  f"{label}cores": round(own / seconds, 2),
                  f"{label}others_share": round(max(others, 0) / seconds / os.cpu_count(), 2)}
    return entry


def summed_up(entries):
    """Prints medians, and what they are in units of Tidecast's."""
    keys = ["records_per_second", "warm_records_per_second", "cpu_s_per_million",
            "warm_cpu_s_per_million", "peak_rss_mib", "others_share"]
    medians = {}
    for (system, name), runs in entries.items():
        good = [run for run in runs if "failed" not in run]
        values = {key: [run[key] for run in good if key in run] for key in keys}
        medians[system, name] = {key: statistics.median(all) for key, all in values.items() if all}
    print("| set | system | runs | records/s | warm | CPU s per million | warm | peak MiB | others' share | rows not equal |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (system, name), median in medians.items():
        cells = [str(median.get(key, "-")) for key in keys]
        off = {key: count for run in entries[system, name] for key, count in run.get("rows", {}).items()
               if count and key != "equal"}
        print(f"| {name} | {system} | {len(entries[system, name])} | {' | '.join(cells)} | {off or '-'} |")
    ratios = []
    for (system, name), median in medians.items():
        ours = medians.get(("tidecast", name.replace("-short", "")))
        if system == "tidecast" or not ours:
            continue
        ratio = {"set": name, "system": system}
        for key in keys[:4]:
            plain = key.replace("warm_", "")  # a bare consumer has no warm half
            other = median.get(key, median.get(plain))
            if other and ours.get(key):
                better = ours[key] / other if "records" in key else other / ours[key]
                ratio[key] = round(better, 2)
        ratios.append(ratio)
    return [{"system": system, "set": name} | median for (system, name), median in medians.items()], ratios


def main():
    wanted = sys.argv[1:] or ALL
    if wanted == ["--stop"]:
        Kafka().called("stop")
        return
    if wanted == ["--quick"]:
        wanted = QUICK
    known, answers, entries, kafka = sets(), {}, {}, Kafka()
    for _ in range(int(os.environ.get("REPEATS", "1"))):
        for word in wanted:
            system, _, name = word.partition("@")
            if name not in known:
                raise SystemExit(f"unknown set `{name}` in `{word}`, expected one of {', '.join(known)}")
            if name not in answers and system != "bare":
                answers = {name: answer(known[name])}  # a large one takes a gigabyte
            entry = measured(kafka, system, known[name], answers.get(name))
            entries.setdefault((system, name), []).append(entry)
            say(word, json.dumps(entry))
    medians, ratios = summed_up(entries)
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True)
    cpu = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    print(json.dumps({"cpu": cpu and cpu.group(1), "cores": os.cpu_count(), "commit": commit.stdout.strip(),
                      "when": time.strftime("%Y-%m-%d"), "medians": medians, "times_better": ratios}))


if __name__ == "__main__":
    main()
