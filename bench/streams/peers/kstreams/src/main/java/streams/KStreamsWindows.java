package streams;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Minute averages in Kafka Streams, exactly once: ten seconds of grace, suppressed until a window
 * closes.
 *
 * <p>Arguments: bootstrap servers, topic to read, topic to write, application id, folder of state.
 */
public final class KStreamsWindows {
  private static final ObjectReader JSON = new ObjectMapper().readerFor(Reading.class);

  private KStreamsWindows() {}

  /** What is read of a record. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  record Reading(double kw, long ts) {}

  /** What an average is made of. */
  record Sum(double sum, long count) {
    Sum plus(Reading reading) {
      return new Sum(sum + reading.kw, count + 1);
    }
  }

  private static Reading read(String topic, byte[] bytes) {
    try {
      return JSON.readValue(bytes);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static byte[] notWritten(String topic, Reading reading) {
    throw new UnsupportedOperationException("readings are only read");
  }

  private static byte[] bytesOf(String topic, Sum sum) {
    return ByteBuffer.allocate(16).putDouble(sum.sum).putLong(sum.count).array();
  }

  private static Sum sumOf(String topic, byte[] bytes) {
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    return new Sum(buffer.getDouble(), buffer.getLong());
  }

  private static KeyValue<String, byte[]> row(Windowed<String> window, Sum sum) {
    String json =
        "{\"site\":\"%s\",\"window_end\":%d,\"kw\":"
            .formatted(window.key(), window.window().end());
    String text = json + sum.sum / sum.count + "}";
    return KeyValue.pair(window.key(), text.getBytes(StandardCharsets.UTF_8));
  }

  public static void main(String[] arguments) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, arguments[3]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, arguments[4]);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1_000);
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), 60_000);
    settings.put(
        StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);

    Serde<Reading> readings =
        Serdes.serdeFrom(KStreamsWindows::notWritten, KStreamsWindows::read);
    Serde<Sum> sums = Serdes.serdeFrom(KStreamsWindows::bytesOf, KStreamsWindows::sumOf);
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(
            arguments[1],
            Consumed.with(Serdes.String(), readings)
                .withTimestampExtractor((record, before) -> ((Reading) record.value()).ts()))
        .groupByKey(Grouped.with(Serdes.String(), readings))
        .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofSeconds(10)))
        .aggregate(
            () -> new Sum(0, 0),
            (site, reading, sum) -> sum.plus(reading),
            Materialized.<String, Sum, WindowStore<Bytes, byte[]>>as("minutes")
                .withKeySerde(Serdes.String())
                .withValueSerde(sums)
                .withRetention(Duration.ofMinutes(5)))
        .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
        .toStream()
        .map(KStreamsWindows::row)
        .to(arguments[2], Produced.with(Serdes.String(), Serdes.ByteArray()));

    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(5))));
    streams.start();
  }
}
