CREATE TABLE unsaid (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='avro');
CREATE TABLE others (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'csv.field-delimiter'=';', 'avro.schema'='x.avsc');
CREATE TABLE characters (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='csv', 'csv.field-delimiter'='||', 'csv.quote-character'='é');
CREATE TABLE same (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='csv', 'csv.field-delimiter'=';', 'csv.quote-character'=';');
CREATE TABLE later (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='maxwell-json');
CREATE TABLE meant (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='avro-confluet', 'schema.registry.ulr'='http://x');
CREATE TABLE paths (kw DOUBLE, site VARCHAR METADATA FROM 'key', ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t',
  'fields.kv'='$.kw', 'fields.site'='$.site', 'fields.kw'='$.values[0]', 'fields.ts'='$..ts', 'fields.'='$.x');
CREATE TABLE flat (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='csv', 'fields.kw'='$.values.kw');
CREATE TABLE flat_file (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='filesystem', 'path'='x.csv', 'fields.kw'='$.values.kw');
CREATE TABLE empty (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='avro', 'avro.schema'='');
CREATE TABLE messages (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='protobuf', 'protobuf.message'='R');
CREATE TABLE named (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='protobuf-confluent', 'protobuf.message'='R');
CREATE TABLE lists (kw DOUBLE, v DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'fields.kw'='$.a[*].kw', 'fields.v'='$.b[*].v');
CREATE TABLE ids (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='avro-apicurio', 'apicurio.registry.use-id'='artifactId');
CREATE TABLE no_ids (kw DOUBLE, ts TIMESTAMP, WATERMARK FOR ts) WITH ('connector'='kafka', 'topic'='t', 'format'='avro-confluent', 'apicurio.registry.use-id'='globalId');
