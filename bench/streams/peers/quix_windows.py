"""Minute averages in Quix Streams: quix_windows.py BOOTSTRAP SOURCE SINK GROUP STATE"""

import sys

import quixstreams.dataframe.windows.aggregations as aggregations
from quixstreams import Application

bootstrap, source, sink, group, state = sys.argv[1:]
app = Application(bootstrap, consumer_group=group, auto_offset_reset="earliest", state_dir=state,
                  loglevel="WARNING")
readings = app.topic(source, timestamp_extractor=lambda value, headers, timestamp, kind: value["ts"])
windows = app.dataframe(readings).tumbling_window(60_000, grace_ms=10_000, on_late=lambda *_: False)
# By the partition's time, as the others: by the key's the last window of a silent key stays open.
minutes = windows.agg(kw=aggregations.Mean("kw")).final(closing_strategy="partition")
minutes.to_topic(app.topic(sink))
app.run()
