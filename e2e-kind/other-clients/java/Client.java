// The fabric8 client: list, watch, and exec over WebSocket. usage: java Client.java NAMESPACE NAME
import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.Watcher;
import io.fabric8.kubernetes.client.WatcherException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

public class Client {
    public static void main(String[] args) throws Exception {
        String namespace = args[0];
        String name = args[1];
        try (KubernetesClient client = new KubernetesClientBuilder().build()) {
            var pods = client.pods().inNamespace(namespace).list().getItems();
            check(pods.stream().anyMatch(pod -> pod.getMetadata().getName().equals("target")), pods);
            System.out.println("list: the pod is there");

            BlockingQueue<String> seen = new LinkedBlockingQueue<>();
            var maps = client.configMaps().inNamespace(namespace);
            var version = maps.list().getMetadata().getResourceVersion();
            try (var watch = maps.withName(name).withResourceVersion(version).watch(new Watcher<ConfigMap>() {
                @Override
                public void eventReceived(Action action, ConfigMap map) {
                    seen.add(action.toString());
                }

                @Override
                public void onClose(WatcherException cause) {
                    seen.add("closed: " + cause);
                }
            })) {
                // The event has to come while the watch is under way, and at once.
                Thread.sleep(2000);
                maps.resource(new ConfigMapBuilder().withNewMetadata().withName(name).endMetadata().build()).create();
                List<String> events = List.of(next(seen), next(seen, () -> maps.withName(name).delete()));
                check(events.equals(List.of("ADDED", "DELETED")), events);
            }
            System.out.println("watch: ADDED DELETED");

            var output = new ByteArrayOutputStream();
            var errors = new ByteArrayOutputStream();
            try (var exec = client.pods().inNamespace(namespace).withName("target").inContainer("main")
                    .readingInput(new ByteArrayInputStream("hello\n".getBytes()))
                    .writingOutput(output)
                    .writingError(errors)
                    .exec("sh", "-c", "read line; echo " + name + " $line; echo no >&2; exit 7")) {
                int code = exec.exitCode().get(60, TimeUnit.SECONDS);
                check(code == 7 && output.toString().trim().equals(name + " hello")
                        && errors.toString().trim().equals("no"), code + " " + output + errors);
            }
            System.out.println("exec: input, output and exit code");
        }
        System.exit(0);
    }

    static String next(BlockingQueue<String> seen) throws InterruptedException {
        return String.valueOf(seen.poll(60, TimeUnit.SECONDS));
    }

    static String next(BlockingQueue<String> seen, Runnable before) throws InterruptedException {
        before.run();
        return next(seen);
    }

    static void check(boolean holds, Object seen) {
        if (!holds) throw new AssertionError(seen);
    }
}
