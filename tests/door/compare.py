"""Reads the forecasts of each format's topic and compares them with those of plain JSON.

    compare.py BOOTSTRAP PREFIX COUNT

Waits until each topic has COUNT of them, those apart that say that the context is too short. Equal means: the same series and origins, and every
number the same to its last digit.
"""

import json
import os
import sys
import time

from confluent_kafka import Consumer

bootstrap, prefix, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
kafka = {"bootstrap.servers": bootstrap} | json.loads(os.environ.get("DOOR_KAFKA", "{}"))
FORMATS = ["json", "nested", "avro", "protobuf", "debezium", "csv", "raw", "apicurio", "headers"]


def forecasts(name):
    consumer = Consumer(kafka | {"group.id": f"{prefix}-{time.time()}", "auto.offset.reset": "earliest",
                                 "isolation.level": "read_committed"})
    consumer.subscribe([f"{prefix}-{name}.forecasts"])
    found, deadline = {}, time.time() + 60
    while len(found) < count and time.time() < deadline:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        body = json.loads(message.value())
        if body["status"] != "ok":
            continue
        variate = body["variates"][0]
        key = (*body["series"].values(), body["origin"])
        found[key] = (variate["mean"], variate["quantiles"])
    consumer.close()
    return found


expected, failed = None, False
for name in FORMATS:
    found = forecasts(name)
    expected = expected or found
    same = sum(found.get(key) == value for key, value in expected.items())
    print(f"{name:10} {len(found):4} forecasts, {same} of {len(expected)} equal to JSON's to the bit")
    failed |= len(found) != len(expected) or same != len(expected) or len(found) < count
sys.exit(failed)
