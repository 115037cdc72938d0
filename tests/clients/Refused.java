import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Sends what will be refused, as Java's own client does, and prints what came back.
 *
 * Lines in: NAME URL BYTES ORIGIN TIMES; a NAME that ends in /h2 is asked over HTTP/2. Lines out: NAME and a status, or 0
 * where there was none. The certificate to accept is the first argument.
 */
public class Refused {
    public static void main(String[] arguments) throws Exception {
        // Origin is a header that it lets nobody set otherwise.
        System.setProperty("jdk.httpclient.allowRestrictedHeaders", "origin");
        SSLContext tls = trusting(arguments[0]);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            HttpClient.Version version =
                words[0].endsWith("/h2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(words[1]))
                .timeout(Duration.ofSeconds(20))
                .POST(HttpRequest.BodyPublishers.ofByteArray(new byte[Integer.parseInt(words[2])]));
            if (!words[3].equals("-")) {
                request.header("Origin", words[3]);
            }
            for (int time = 0; time < Integer.parseInt(words[4]); time++) {
                // A connection of its own each time: what is refused is lost with the connection.
                HttpClient client = HttpClient.newBuilder().version(version).sslContext(tls).build();
                int status = 0;
                try {
                    status = client.send(request.build(), BodyHandlers.discarding()).statusCode();
                } catch (IOException error) {
                    System.err.println(words[0] + ": " + error);
                }
                System.out.println(words[0] + " " + status);
            }
        }
        // Its threads would keep the process.
        System.exit(0);
    }

    private static SSLContext trusting(String file) throws Exception {
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null);
        try (FileInputStream pem = new FileInputStream(file)) {
            trusted.setCertificateEntry("server", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(null, trust.getTrustManagers(), null);
        return tls;
    }
}
