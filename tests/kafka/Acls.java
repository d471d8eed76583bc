import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * What `kafka-acls.sh --add` and `--remove` do, for many lines of it in one JVM: each line of
 * standard input is the arguments of one call, and is answered with `ok` once the broker goes
 * by it, or with what is wrong. The argument is the broker's address.
 */
public class Acls {
    public static void main(String[] arguments) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0]));
             BufferedReader lines = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                try {
                    apply(admin, line.trim().split(" +"));
                    System.out.println("ok");
                } catch (Exception error) {
                    System.out.println("error: " + error);
                }
                System.out.flush();
            }
        }
    }

    private static void apply(Admin admin, String[] words) throws Exception {
        boolean add = true;
        String principal = null;
        List<AclOperation> operations = new ArrayList<>();
        PatternType pattern = PatternType.LITERAL;
        ResourceType type = null;
        String name = null;
        for (int i = 0; i < words.length; i++) {
            switch (words[i]) {
                case "--add" -> add = true;
                case "--remove" -> add = false;
                case "--force" -> { }
                case "--bootstrap-server", "--command-config" -> i++;
                case "--allow-principal" -> principal = words[++i].replace("'", "");
                case "--operation" -> operations.add(AclOperation.fromString(words[++i]));
                case "--resource-pattern-type" -> pattern = PatternType.fromString(words[++i].toUpperCase());
                case "--topic", "--group", "--transactional-id" -> {
                    type = ResourceType.fromString(words[i].substring(2).replace('-', '_'));
                    name = words[++i].replace("'", "");
                }
                case "--cluster" -> {
                    type = ResourceType.CLUSTER;
                    name = "kafka-cluster";
                }
                default -> throw new IllegalArgumentException(words[i]);
            }
        }
        ResourcePattern resource = new ResourcePattern(type, name, pattern);
        for (AclOperation operation : operations) {
            AccessControlEntry entry =
                new AccessControlEntry(principal, "*", operation, AclPermissionType.ALLOW);
            AclBinding binding = new AclBinding(resource, entry);
            var filter = binding.toFilter();
            if (add) {
                admin.createAcls(List.of(binding)).all().get(30, TimeUnit.SECONDS);
            } else {
                admin.deleteAcls(List.of(filter)).all().get(30, TimeUnit.SECONDS);
            }
            // The controller has it; the broker follows a little later.
            for (int turn = 0; turn < 1000; turn++) {
                boolean there = !admin.describeAcls(filter).values().get().isEmpty();
                if (there == add) break;
                Thread.sleep(10);
            }
        }
    }
}
