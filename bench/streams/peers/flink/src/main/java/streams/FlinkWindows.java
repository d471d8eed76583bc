package streams;

import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Minute averages in Flink SQL, exactly once, in one process.
 *
 * <p>Arguments: bootstrap servers, topic to read, topic to write, consumer group, partitions of the
 * topic that is read, folder of checkpoints.
 */
public final class FlinkWindows {
  private static final int PARALLELISM = 2;

  private FlinkWindows() {}

  public static void main(String[] arguments) throws Exception {
    String bootstrap = arguments[0];
    String source = arguments[1];
    String sink = arguments[2];
    String group = arguments[3];
    int partitions = Integer.parseInt(arguments[4]);
    Configuration configuration =
        Configuration.fromMap(
            Map.of(
                "parallelism.default", Integer.toString(PARALLELISM),
                "execution.checkpointing.interval", "10 s",
                "execution.checkpointing.mode", "EXACTLY_ONCE",
                "execution.checkpointing.storage", "filesystem",
                "execution.checkpointing.dir", arguments[5],
                "table.local-time-zone", "UTC",
                "pipeline.object-reuse", "true",
                "taskmanager.memory.managed.size", "512m"));
    TableEnvironment tables =
        TableEnvironment.create(
            EnvironmentSettings.newInstance()
                .inStreamingMode()
                .withConfiguration(configuration)
                .build());
    // A reader without a partition never says how late it is.
    String scan =
        partitions < PARALLELISM ? "'scan.parallelism' = '%d',".formatted(partitions) : "";
    tables.executeSql(
        """
        CREATE TABLE readings (
          site STRING, kw DOUBLE, ts BIGINT, t AS TO_TIMESTAMP_LTZ(ts, 3),
          WATERMARK FOR t AS t - INTERVAL '10' SECOND
        ) WITH ('connector' = 'kafka', 'topic' = '%s', 'format' = 'json', %s
                'properties.bootstrap.servers' = '%s', 'properties.group.id' = '%s',
                'scan.startup.mode' = 'earliest-offset')
        """
            .formatted(source, scan, bootstrap, group));
    tables.executeSql(
        """
        CREATE TABLE minutes (site STRING, window_end TIMESTAMP(3), kw DOUBLE)
        WITH ('connector' = 'kafka', 'topic' = '%s', 'properties.bootstrap.servers' = '%s',
              'properties.transaction.timeout.ms' = '600000',
              'key.format' = 'raw', 'key.fields' = 'site', 'value.format' = 'json',
              'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '%s')
        """
            .formatted(sink, bootstrap, group));
    tables
        .executeSql(
            """
            INSERT INTO minutes
            SELECT site, window_end, AVG(kw)
            FROM TUMBLE(TABLE readings, DESCRIPTOR(t), INTERVAL '1' MINUTE)
            GROUP BY site, window_start, window_end
            """)
        .await();
  }
}
