// JSON for Testee.java: the control language needs it, your client does not.
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** A line that the suite sends. Fields that the testee does not know may hold anything. */
final class Json {
    private static final Pattern TOKEN = Pattern.compile("[{}\\[\\]]|\"((?:[^\"\\\\]++|\\\\.)*+)\"(?=( *:)?)");
    private final String line;

    Json(String line) {
        this.line = line;
    }

    /** Returns what follows a key of the outermost object, or null. */
    private String find(String key) {
        int depth = 0;
        for (Matcher token = TOKEN.matcher(line); token.find(); ) {
            if (token.group().matches("[{\\[]")) depth++;
            if (token.group().matches("[}\\]]")) depth--;
            boolean isKey = depth == 1 && token.group(2) != null && key.equals(token.group(1));
            if (isKey) return line.substring(token.end(2)).strip();
        }
        return null;
    }

    double number(String key, double otherwise) {
        String value = find(key);
        return value == null ? otherwise : Double.parseDouble(value.split("[ ,}]", 2)[0]);
    }

    int[] numbers(String key) {
        String list = find(key).split("[\\[\\]]", 3)[1];
        Stream<String> texts = Stream.of(list.split(",")).map(String::strip).filter(text -> !text.isEmpty());
        return texts.mapToInt(Integer::parseInt).toArray();
    }

    /** Returns a string, or null. */
    String string(String key) {
        String value = find(key);
        if (value == null) return null;
        Matcher text = TOKEN.matcher(value);
        if (!text.lookingAt()) throw new IllegalArgumentException(key + " is no string");
        Pattern escape = Pattern.compile("\\\\(?:u([0-9a-fA-F]{4})|(.))");
        return escape.matcher(text.group(1)).replaceAll(found -> Matcher.quoteReplacement(plain(found)));
    }

    private static String plain(MatchResult escape) {
        if (escape.group(1) != null) return "" + (char) Integer.parseInt(escape.group(1), 16);
        int known = "bfnrt".indexOf(escape.group(2));
        return known < 0 ? escape.group(2) : "\b\f\n\r\t".substring(known, known + 1);
    }

    static String quoted(String text) {
        return '"' + text.replaceAll("[\"\\\\]", "\\\\$0").replaceAll("\\p{Cntrl}", "?") + '"';
    }
}
