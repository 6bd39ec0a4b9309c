// A service that signs in at callboard. Java 17 or newer, the JDK only.
//
// Run it:     java examples/java/Hello.java
// Call it:    curl http://127.0.0.1:8080/hello/world
// Settings:   CALLBOARD, SERVICE, INSTANCE_ID, PORT, ADDRESS (see examples/README.md)
//
// To put a service of your own on callboard, keep `stay`, `leave` and `call`, and replace `hello`.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

public class Hello {
    static final String CALLBOARD = env("CALLBOARD", "http://127.0.0.1:8500");
    static final String SERVICE = env("SERVICE", "hello");
    static final String INSTANCE_ID = env("INSTANCE_ID", hostname() + "-" + ProcessHandle.current().pid());
    static final String URL = CALLBOARD + "/api/v1/services/" + SERVICE + "/instances/" + INSTANCE_ID;
    static final HttpClient CLIENT = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(3)).build();

    /** The service itself: /health says it is well, anything else says who answered. */
    static void hello(HttpExchange exchange) throws IOException {
        var path = exchange.getRequestURI().toString().replace("\\", "\\\\").replace("\"", "\\\"");
        var body = """
                {"language":"java","instance":"%s","path":"%s"}""".formatted(INSTANCE_ID, path)
                .getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    /** Keeps this instance signed in until `leaving` is counted down. */
    static void stay(int port, CountDownLatch leaving) throws InterruptedException {
        // Without an address callboard takes the one this call comes from; without a heartbeat for
        // the lease's ttl it doubts us; it checks /health for itself as well; and because of the
        // generation it refuses a late call of an earlier life.
        var address = System.getenv("ADDRESS") == null ? "" : "\"address\":\"" + System.getenv("ADDRESS") + "\",";
        var registration = """
                {%s"port":%d,"lease":{"ttl":"5s"},"check":{"http":{"path":"/health"}},
                 "metadata":{"language":"java"},"generation":%d}""".formatted(address, port, System.currentTimeMillis());
        long renewAfter = 0; // milliseconds; 0: not signed in yet
        long pause = 0;
        while (!leaving.await(pause, TimeUnit.MILLISECONDS)) {
            pause = 1000; // callboard is away: keep serving, keep asking
            try {
                var signedIn = renewAfter > 0;
                var response = signedIn ? call("PUT", URL + "/lease", "", 3) : call("PUT", URL, registration, 3);
                if (response.statusCode() == 404 && signedIn) {
                    renewAfter = 0; // callboard does not know us: sign in again
                    pause = 0;
                } else if (response.statusCode() >= 300) {
                    System.err.println("callboard: " + response.statusCode() + " " + response.body());
                } else {
                    if (!signedIn) {
                        renewAfter = renewAfter(response.body());
                        System.out.println("signed in as " + SERVICE + "/" + INSTANCE_ID);
                    }
                    pause = renewAfter;
                }
            } catch (IOException error) {
                System.err.println("callboard at " + CALLBOARD + ": " + error);
            }
        }
    }

    /** Signs out: callboard sends nothing new, and answers when nothing is in flight. */
    static void leave() throws InterruptedException {
        try {
            System.out.println("left: " + call("DELETE", URL + "?drain=10s", "", 15).body());
        } catch (IOException error) {
            System.err.println("callboard at " + CALLBOARD + ": " + error + "; the lease will run out");
        }
    }

    static HttpResponse<String> call(String method, String url, String body, int timeoutSeconds)
            throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(timeoutSeconds));
        if (body.isEmpty()) {
            request.method(method, BodyPublishers.noBody());
        } else {
            request.method(method, BodyPublishers.ofString(body)).header("Content-Type", "application/json");
        }
        return CLIENT.send(request.build(), BodyHandlers.ofString());
    }

    /** Finds the time to the next heartbeat, written 250ms or 4.7s, in milliseconds. */
    static long renewAfter(String answer) throws IOException {
        var found = Pattern.compile("\"renew_after\"\\s*:\\s*\"([\\d.]+)(ms|s)\"").matcher(answer);
        if (!found.find()) {
            throw new IOException("no lease.renew_after in " + answer);
        }
        return Math.max(1, Math.round(Double.parseDouble(found.group(1)) * (found.group(2).equals("ms") ? 1 : 1000)));
    }

    public static void main(String[] arguments) throws Exception {
        // The proxy keeps idle connections for 60 s; closing them later than it does spares a retry.
        System.setProperty("sun.net.httpserver.idleInterval", "75");
        System.setProperty("sun.net.httpserver.nodelay", "true");
        var server = HttpServer.create(new InetSocketAddress(Integer.parseInt(env("PORT", "0"))), 0);
        server.createContext("/", Hello::hello);
        var workers = Executors.newCachedThreadPool();
        server.setExecutor(workers);
        server.start();

        var leaving = new CountDownLatch(1);
        var main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { // SIGTERM, SIGINT
            leaving.countDown();
            try {
                main.join();
            } catch (InterruptedException ignored) {
                // The process ends either way.
            }
            Runtime.getRuntime().halt(0); // or the JVM reports the signal as its exit status
        }));
        stay(server.getAddress().getPort(), leaving); // listens first, then signs in
        leave();
        server.stop(0);
        workers.shutdown();
    }

    static String env(String key, String fallback) {
        return System.getenv().getOrDefault(key, fallback);
    }

    static String hostname() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (IOException error) {
            return "java";
        }
    }
}
