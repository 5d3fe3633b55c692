import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Ask for one address with the older or the newer of Java's own clients, and print the status and the answer. */
public class Fetch {
    public static void main(String[] words) throws Exception {
        int status;
        String body;
        String version = "";
        if (words[0].equals("java")) {
            HttpURLConnection connection = (HttpURLConnection) URI.create(words[1]).toURL().openConnection();
            status = connection.getResponseCode();
            InputStream answer = status == 200 ? connection.getInputStream() : connection.getErrorStream();
            body = new String(answer.readAllBytes());
        } else {
            HttpRequest request = HttpRequest.newBuilder(URI.create(words[1])).build();
            HttpResponse<String> answer =
                HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            status = answer.statusCode();
            body = answer.body();
            version = answer.version().toString();
        }
        System.out.println(status + " " + version + " " + body);
        System.exit(status == 200 ? 0 : 1);
    }
}
