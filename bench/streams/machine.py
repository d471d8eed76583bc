"""The broker, the processes that are watched, and how busy the machine is otherwise."""

import os
import pathlib
import re
import signal
import subprocess
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(os.environ["WORK"])
TICKS = os.sysconf("SC_CLK_TCK")


class Kafka:
    """A broker of its own; what is in it stays until `stop`."""

    def __init__(self):
        self.environment = dict(os.environ, KAFKA_RUN=str(WORK / "kafka"), KAFKA_HEAP="512m")
        if self.called("bootstrap", check=False) is None:
            self.called("start")
        self.bootstrap = self.called("bootstrap").split()[-1]
        self.pid = int((WORK / "kafka/node1/pid").read_text())
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})

    def called(self, command, check=True):
        script = str(ROOT / "tests/kafka/kafka.sh")
        done = subprocess.run([script, command], env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=None if check else subprocess.DEVNULL,
                              text=True, check=check)
        return done.stdout if done.returncode == 0 else None

    def topics(self):
        return set(self.admin.list_topics(timeout=20).topics)

    def create(self, name, partitions, **config):
        topic = NewTopic(name, partitions, 1, config={"retention.ms": "-1"} | config)
        self.admin.create_topics([topic])[name].result(30)

    def delete(self, names):
        if names:
            for done in self.admin.delete_topics(list(names)).values():
                done.result(30)

    def producer(self):
        return Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 20, "batch.size": 262_144,
                         "queue.buffering.max.messages": 1_000_000,
                         "queue.buffering.max.kbytes": 1 << 20})

    def consumer(self, topic, partitions, isolation="read_committed"):
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"reader-{time.time_ns()}",
                             "enable.auto.commit": False, "isolation.level": isolation,
                             "auto.offset.reset": "earliest"})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        return consumer


def end_of(consumer, topic, partitions):
    """Returns how many messages a topic has, committed or not."""
    ends = (consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10, cached=False)[1]
            for partition in range(partitions))
    return sum(ends)


class Watched:
    """CPU seconds over time, of a process that is started here or is there already."""

    def __init__(self, command=None, log=None, pid=None, every=0.05):
        self.samples = []  # (seconds since 1970, CPU seconds)
        self.peak_kib = 0
        self.ended = threading.Event()
        self.process = None
        if command:
            self.log = open(log, "wb")
            self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL)
            pid = self.process.pid
        self.pid = pid
        self.thread = threading.Thread(target=self._watch, args=(every,), daemon=True)
        self.thread.start()

    def _watch(self, every):
        while self._sample() and not self.ended.wait(every):
            pass

    def _sample(self):
        try:
            fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(") ", 1)[1].split()
            status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        except (OSError, IndexError):
            return False
        self.samples.append((time.time(), (int(fields[11]) + int(fields[12])) / TICKS))
        if peak := re.search(r"VmHWM:\s+(\d+)", status):
            self.peak_kib = max(self.peak_kib, int(peak.group(1)))
        return True

    def is_alive(self):
        return self.process.poll() is None

    def cpu_between(self, start, end):
        """Returns the CPU seconds between two moments, between samples on a line."""
        return self._cpu_at(end) - self._cpu_at(start)

    def _cpu_at(self, when):
        before = None
        for at, cpu in self.samples:
            if at >= when:
                if before is None:
                    return cpu
                share = (when - before[0]) / max(at - before[0], 1e-9)
                return before[1] + share * (cpu - before[1])
            before = (at, cpu)
        return before[1] if before else float("nan")

    def end(self):
        self._sample()
        self.ended.set()
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.thread.join(2)
        if self.process:
            self.log.close()


class Everybody(Watched):
    """CPU seconds of all that runs."""

    def _sample(self):
        self.samples.append((time.time(), busy()))
        return True


def busy():
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:7])) / TICKS


def await_quiet(most=0.15):
    """Waits until others take less than this share of the machine for 1.5 s, or long enough."""
    deadline, good = time.time() + float(os.environ.get("QUIET_S", "60")), 0
    while good < 3 and time.time() < deadline:
        before, at = busy(), time.time()
        time.sleep(0.5)
        share = (busy() - before) / (time.time() - at) / os.cpu_count()
        good = good + 1 if share < most else 0
