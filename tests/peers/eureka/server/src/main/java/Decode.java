import com.netflix.discovery.converters.wrappers.CodecWrappers;
import com.netflix.discovery.converters.wrappers.DecoderWrapper;
import com.netflix.discovery.shared.Applications;
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.springframework.cloud.netflix.eureka.http.RestTemplateTransportClientFactory;
import org.springframework.cloud.netflix.eureka.server.CloudJacksonJson;

/** Reads lists with the decoders of Netflix's client and of Spring's, and prints the ids that each of them found. */
public class Decode {
    /** A way to read a list. */
    interface Reader {
        Applications read(byte[] body) throws Exception;
    }

    public static void main(String[] files) throws Exception {
        for (String file : files) {
            byte[] body = Files.readAllBytes(Path.of(file));
            for (var reader : readers(file).entrySet()) {
                String found;
                try {
                    List<String> ids = new ArrayList<>();
                    for (var application : reader.getValue().read(body).getRegisteredApplications()) {
                        application.getInstancesAsIsFromEureka().forEach(each -> ids.add(each.getId()));
                    }
                    found = "read " + String.join(" ", ids.stream().sorted().toList());
                } catch (Exception error) {
                    found = "failed " + error;
                }
                System.out.println(Path.of(file).getFileName() + "\t" + reader.getKey() + "\t"
                    + found.replace('\n', ' '));
            }
        }
    }

    private static Map<String, Reader> readers(String file) {
        Map<String, Reader> readers = new LinkedHashMap<>();
        List<DecoderWrapper> codecs;
        if (file.endsWith(".json") && file.contains("compact")) {
            codecs = List.of(CodecWrappers.getDecoder(CodecWrappers.JacksonJsonMini.class));
        } else if (file.endsWith(".json")) {
            var mapper = new RestTemplateTransportClientFactory().mappingJacksonHttpMessageConverter().getObjectMapper();
            readers.put("Spring's RestTemplate", body -> mapper.readValue(body, Applications.class));
            codecs = List.of(new CloudJacksonJson(), CodecWrappers.getDecoder(CodecWrappers.LegacyJacksonJson.class),
                CodecWrappers.getDecoder(CodecWrappers.JacksonJson.class));
        } else if (file.contains("compact")) {
            codecs = List.of(CodecWrappers.getDecoder(CodecWrappers.JacksonXmlMini.class));
        } else {
            codecs = List.of(CodecWrappers.getDecoder(CodecWrappers.XStreamXml.class),
                CodecWrappers.getDecoder(CodecWrappers.JacksonXml.class));
        }
        for (var codec : codecs) {
            readers.put(codec.getClass().getSimpleName(), body -> codec.decode(new ByteArrayInputStream(body), Applications.class));
        }
        return readers;
    }
}
