// The JDK's HttpClient with its defaults, which offer `Upgrade: h2c`; Spring AI builds on it.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.stream.Collectors;

public class WithJdk {
    public static void main(String[] given) throws Exception {
        var client = HttpClient.newHttpClient();
        var model = System.getenv("MODEL");
        var whole = client.send(ask("/responses", "{\"model\":\"" + model + "\",\"input\":\"What?\"}"), BodyHandlers.ofString());
        require(whole.statusCode() == 200 && whole.body().contains("\"One job.\""), whole.body());
        System.out.println("responses");
        var asked = "{\"model\":\"" + model + "\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"What?\"}]}";
        var lines = client.send(ask("/chat/completions", asked), BodyHandlers.ofLines()).body().collect(Collectors.joining());
        require(lines.contains("\"One\"") && lines.endsWith("[DONE]"), lines);
        System.out.println("chat, streamed");
    }

    static HttpRequest ask(String path, String body) {
        return HttpRequest.newBuilder(URI.create(System.getenv("OPENAI_BASE_URL") + path))
            .header("Authorization", "Bearer " + System.getenv("OPENAI_API_KEY"))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body)).build();
    }

    static void require(boolean held, String said) {
        if (!held) throw new AssertionError(said);
    }
}
