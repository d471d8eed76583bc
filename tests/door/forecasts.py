"""Reads forecasts that were written in other formats with Confluent's own deserializers, and
compares them with those of the same readings as plain JSON.

    forecasts.py BOOTSTRAP REGISTRY EXPECTED_TOPIC FORMAT/LAYOUT/TOPIC...

Generated code of the Protobuf schemas is `<layout>_pb2`. Equal means: every field of every
forecast, and every number to its last digit.
"""

import importlib
import json
import math
import os
import sys
import time
from datetime import datetime, timezone

from confluent_kafka import Consumer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

bootstrap, registry_url, expected_topic, *others = sys.argv[1:]
kafka = {"bootstrap.servers": bootstrap} | json.loads(os.environ.get("DOOR_KAFKA", "{}"))
registry = SchemaRegistryClient({"url": registry_url})
OPTIONAL = {"times", "reason", "aggregates", "samples", "domain", "lower", "upper"}


def deserializer(name, layout):
    """Returns what makes a record's value the fields that JSON has."""
    if name == "json":
        return lambda value, _: json.loads(value)
    if name == "avro-confluent":
        read = AvroDeserializer(registry)
        return lambda value, context: of_avro(read(value, context), layout)
    module = importlib.import_module(f"{layout}_pb2")
    kind = module.Forecast if layout == "nested" else module.ForecastRow
    read = ProtobufDeserializer(kind, {"use.deprecated.format": False})
    return lambda value, context: of_protobuf(read(value, context), layout)


def put(fields, name, value, layout):
    if layout == "long" or value not in (None, []) or name not in OPTIONAL:
        fields[name] = value


def instant(value):
    """Returns a time as JSON has it: as many digits of the fraction as it needs."""
    text = value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{value.microsecond:06}".rstrip("0") if value.microsecond else "") + "Z"


def of_avro(value, layout):
    if isinstance(value, dict):
        fields = {}
        for name, inner in value.items():
            name = f"q0.{name[3:]}" if layout == "long" and name.startswith("q0_") else name
            put(fields, name, of_avro(inner, layout), layout)
        return fields
    if isinstance(value, list):
        return [of_avro(inner, layout) for inner in value]
    return instant(value) if isinstance(value, datetime) else value


def of_protobuf(value, layout):
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not hasattr(value, "DESCRIPTOR"):
        return value
    if value.DESCRIPTOR.full_name == "google.protobuf.Timestamp":
        return instant(value.ToDatetime(timezone.utc))
    if value.DESCRIPTOR.name == "Values":
        return [of_protobuf(inner, layout) for inner in value.values]
    fields = {}
    for field in value.DESCRIPTOR.fields:
        found = getattr(value, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            found = {key: of_protobuf(inner, layout) for key, inner in found.items()}
        elif field.has_presence:
            found = of_protobuf(found, layout) if value.HasField(field.name) else None
        elif hasattr(found, "append"):
            found = [of_protobuf(inner, layout) for inner in found]
        put(fields, field.json_name, found, layout)
    return fields


def forecasts(topic, read, key, count, only=None):
    """Reads until there are `count` of those that `only` takes, or nothing comes any more."""
    consumer = Consumer(kafka | {"group.id": f"{topic}-{time.time()}", "auto.offset.reset": "earliest",
                                 "isolation.level": "read_committed"})
    consumer.subscribe([topic])
    found, deadline = {}, time.time() + 60
    while sum(map(only or bool, found.values())) < count and time.time() < deadline:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        body = read(message.value(), SerializationContext(topic, MessageField.VALUE))
        assert dict(message.headers())["forecast_id"].decode() == body["forecast_id"]
        # Follows from when it was made.
        body.pop("is_backfill", None)
        found[key(body)] = body
    consumer.close()
    return found


def rows(forecast, levels):
    """Returns the rows that a forecast is in the long layout."""
    row = {"forecast_id": forecast["forecast_id"], "pipeline": forecast["pipeline"],
           **forecast["series"], "origin": forecast["origin"], "time": None, "step": None,
           "variate": None, "mean": None, **{f"q{level}": None for level in levels},
           "model": forecast["model"]["name"], "status": forecast["status"],
           "reason": forecast.get("reason")}
    if not forecast["variates"]:
        yield row
    for variate in forecast["variates"]:
        for index, mean in enumerate(variate["mean"]):
            origin = datetime.fromisoformat(forecast["origin"])
            at = origin.timestamp() + (index + 1) * forecast["step_ms"] / 1000
            quantiles = {f"q{level}": values[index] for level, values in variate["quantiles"].items()}
            yield row | quantiles | {"time": instant(datetime.fromtimestamp(at, timezone.utc)),
                                     "step": index + 1, "variate": variate["name"], "mean": mean}


def text(value):
    """Every number as the shortest text that reads back to the bit."""
    return json.dumps(value, sort_keys=True)


# All forecasts, those too that say that the context is too short.
nested = forecasts(expected_topic, lambda value, _: json.loads(value),
                   lambda body: body["forecast_id"], 240)
failed = not nested
levels = {level for forecast in nested.values() for variate in forecast["variates"]
          for level in variate["quantiles"]}
for other in others:
    name, layout, topic = other.split("/")
    if layout == "nested":
        expected, key = nested, lambda body: body["forecast_id"]
    else:
        key = lambda body: (body["forecast_id"], body["variate"], body["step"])
        expected = {key(row): row for forecast in nested.values() for row in rows(forecast, levels)}
    found = forecasts(topic, deserializer(name, layout), key, len(expected))
    same = sum(text(found.get(key)) == text(value) for key, value in expected.items())
    print(f"{name + ', ' + layout:27} {len(found):4} records, {same} of {len(expected)} equal to JSON's to the bit")
    if same != len(expected):
        key = next(key for key, value in expected.items() if text(found.get(key)) != text(value))
        print("  expected", text(expected[key]), "\n  found   ", text(found.get(key)))
        failed = True
sys.exit(failed)
