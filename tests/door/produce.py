"""Writes the same readings to topics in several formats, with Confluent's own serializers.

    produce.py BOOTSTRAP REGISTRY PREFIX START_MS

Topics <PREFIX>-json, -nested, -avro, -protobuf, -csv, -debezium, -raw, -apicurio and -headers are
created with two partitions; a series' readings are in one of them, and all formats agree on which.
The last two are Avro as Apicurio's serializers write it (2.x): the `globalId` of the schema in eight
bytes of the value, or in a header.
The topics of the forecasts are made, too.
"""

import io
import json
import math
import os
import sys
import urllib.request

import fastavro
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

import reading_pb2

bootstrap, registry_url, prefix, start = sys.argv[1:5]
start = int(start)
FORMATS = ["json", "nested", "avro", "protobuf", "csv", "debezium", "raw", "apicurio", "headers"]

kafka = {"bootstrap.servers": bootstrap} | json.loads(os.environ.get("DOOR_KAFKA", "{}"))
admin = AdminClient(kafka)
topics = [NewTopic(f"{prefix}-{name}", 2, 1) for name in FORMATS]
topics += [NewTopic(f"{prefix}-{name}.forecasts", 2, 1) for name in FORMATS]
topics += [NewTopic(f"{prefix}-out-{name}-{layout}", 2, 1)
           for name in ["json", "avro-confluent", "protobuf-confluent"] for layout in ["nested", "long"]]
for future in admin.create_topics(topics).values():
    future.result()

registry = SchemaRegistryClient({"url": registry_url})
first = json.dumps({
    "type": "record", "name": "Reading", "namespace": "meters", "fields": [
        {"name": "meter", "type": "string"},
        {"name": "kw", "type": ["null", "double"], "default": None},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ]})
# The schema goes on while the topic is read: a field more, another one renamed.
second = json.dumps({
    "type": "record", "name": "Reading", "namespace": "meters", "fields": [
        {"name": "meter", "type": "string"},
        {"name": "volts", "type": "float", "default": 230.0},
        {"name": "load", "type": ["null", "double"], "default": None, "aliases": ["kw"]},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ]})
options = {"auto.register.schemas": True}
avro = [AvroSerializer(registry, schema, conf=options) for schema in (first, second)]
protobuf = ProtobufSerializer(reading_pb2.Reading, registry, {"use.deprecated.format": False})


def register(schema):
    """Returns the `globalId` of a schema, registered as Apicurio's serializers do."""
    native = registry_url.replace("/apis/ccompat/v7", "/apis/registry/v2")
    request = urllib.request.Request(
        f"{native}/groups/door/artifacts?ifExists=RETURN", schema.encode(),
        {"X-Registry-ArtifactId": "door", "Content-Type": "application/json; artifactType=AVRO"})
    return json.load(urllib.request.urlopen(request))["globalId"].to_bytes(8, "big")


parsed = fastavro.parse_schema(json.loads(first))


def binary(meter, kw, ms):
    written = io.BytesIO()
    fastavro.schemaless_writer(written, parsed, {"meter": meter, "kw": kw, "ts": ms})
    return written.getvalue()


def value(name, meter, kw, ms, minute):
    context = SerializationContext(f"{prefix}-{name}", MessageField.VALUE)
    if name == "json":
        return json.dumps({"meter": meter, "kw": kw, "ts": ms})
    if name == "nested":
        return json.dumps({"device": {"meter": meter, "fw": "1.2"},
                           "payload": {"at": ms, "values": {"kw": kw, "volts": 230.5}}})
    if name == "avro":
        # With the newer schema the time is the serializer's own kind, too.
        record = {"meter": meter, "ts": ms}
        if minute < 40:
            return avro[0](record | {"kw": kw}, context)
        return avro[1](record | {"load": kw, "volts": 231.0}, context)
    if name == "protobuf":
        record = reading_pb2.Reading(meter=meter, kw=kw)
        record.at.FromMilliseconds(ms)
        return protobuf(record, context)
    if name == "csv":
        return f"{meter};{kw!r};{ms}"
    if name == "debezium":
        return json.dumps({"before": None, "after": {"meter": meter, "kw": kw, "ts": ms},
                           "source": {"connector": "postgresql", "ts_ms": ms}, "op": "c", "ts_ms": ms})
    if name == "apicurio":
        return b"\0" + global_id + binary(meter, kw, ms)
    if name == "headers":
        return binary(meter, kw, ms)
    return repr(kw)


global_id = register(first)
headers = {"headers": [("apicurio.value.globalId", global_id), ("apicurio.value.encoding", b"BINARY")]}
producer = Producer(kafka | {"linger.ms": 50})
for minute in range(60):
    for number in range(4):
        meter = f"{number:03}"
        kw = round(10 + number + 3 * math.sin(minute / 7 + number), 3)
        ms = start + minute * 60_000
        for name in FORMATS:
            producer.produce(f"{prefix}-{name}", value(name, meter, kw, ms, minute),
                             key=meter, partition=number % 2, timestamp=ms, headers=headers.get(name))
    producer.poll(0)
producer.flush()
print(f"{60 * 4} readings to each of {len(FORMATS)} topics")
