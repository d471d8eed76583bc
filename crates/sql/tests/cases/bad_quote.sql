CREATE TABLE t WITH (
  'topic'='readings, 'format'='json');
