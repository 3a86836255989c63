// A client of ipc-channel in Java, and around it a testee for the conformance suite.
//
//   javac *.java && ipc-channel conformance --transport tcp -- java Testee
//
// Ids such as RDV-43 are requirements of the specification: FRM in spec/framing.md, RDV in
// spec/rendezvous.md, SES in spec/session.md, ERR in spec/errors.md.
import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Does what it is told. A request adds to its answer as far as it comes. */
public class Testee {
    // TODO: say what else your client can do: named_pipe, max_message_size, linger,
    // concurrent (SES-11, SES-20, SES-33), cancel (SES-10, SES-21).
    static final String CAN = "\"tcp\"";
    static final int LIMIT = 64 << 20; // FRM-6

    /** An error with one of the codes of spec/errors.md. */
    @SuppressWarnings("serial") // never serialised
    static class ChannelException extends IOException {
        final String code;

        ChannelException(String code, String text) {
            super(text);
            this.code = code;
        }
    }

    // ---- Your client: connect, read, write, close. This one does the simplest thing over TCP.

    /** A connection to the server. */
    static class Channel {
        static final Map<String, String> ERROR_OF_END =
                Map.of("truncated", "truncated", "reset", "reset", "too_large", "too-large");
        String end; // the end reason, once there is one
        private boolean closed;
        private final Socket socket;
        private final InputStream stream;

        Channel(String in, String out, double timeout) throws IOException, InterruptedException {
            socket = connect(serverOf(in, out), System.nanoTime() + (long) (timeout * 1e9));
            stream = new BufferedInputStream(socket.getInputStream());
        }

        /** Tries again until the timeout (RDV-9, RDV-43). */
        static Socket connect(SocketAddress server, long deadline) throws IOException, InterruptedException {
            // TODO RDV-12: pause for 1 ms first, then twice as long each time, up to 20 ms.
            // TODO RDV-14: also after other errors, which the timeout then names.
            // TODO RDV-44: not to itself. RDV-45: TCP_NODELAY. RDV-49: a reset is an end.
            while (true) {
                Socket socket = new Socket();
                try {
                    socket.connect(server, 1000);
                    return socket;
                } catch (ConnectException | SocketTimeoutException error) {
                    socket.close();
                    if (System.nanoTime() - deadline >= 0)
                        throw new ChannelException("timeout", "no server at " + server);
                }
                Thread.sleep(10);
            }
        }

        static InetSocketAddress serverOf(String in, String out) throws ChannelException {
            // TODO RDV-1, RDV-6, RDV-20 to RDV-38: named pipes (Java has none without native code).
            // TODO RDV-4: the other hosts. RDV-5: all that is refused here stays refused.
            Matcher found = Pattern.compile("(?:127\\.0\\.0\\.1:)?([1-9][0-9]{0,4})").matcher(in);
            if (!in.equals(out) || !found.matches() || Integer.parseInt(found.group(1)) > 65535)
                throw new ChannelException("bad-rendezvous", in + " and " + out + " lead to no server");
            return new InetSocketAddress("127.0.0.1", Integer.parseInt(found.group(1)));
        }

        /** Returns a message, or null at an orderly end; an end stays (SES-1). */
        byte[] read() throws ChannelException {
            byte[] message = end == null ? readFrame() : null;
            if (end != null && ERROR_OF_END.containsKey(end))
                throw new ChannelException(ERROR_OF_END.get(end), "the session ended: " + end);
            return message;
        }

        /** Returns a message, or sets the end reason and returns null. */
        private byte[] readFrame() {
            // TODO SES-3: an end of the stream after a write has met a reset is a reset.
            try {
                byte[] header = stream.readNBytes(4);
                if (header.length < 4) {
                    end = header.length > 0 ? "truncated" : "eof"; // FRM-10
                    return null;
                }
                int size = ByteBuffer.wrap(header).getInt(); // negative from 2 GiB on
                if (size == 0) end = "clean"; // FRM-3
                else if (size < 0 || size > LIMIT) end = "too_large"; // FRM-8
                if (end != null) return null;
                byte[] message = stream.readNBytes(size);
                if (message.length == size) return message;
                end = "truncated";
            } catch (IOException error) {
                end = "reset";
            }
            return null;
        }

        /** Sends a message. */
        void write(byte[] message) throws ChannelException {
            // TODO FRM-4, FRM-7: refuse an empty message, and one over the limit.
            // TODO SES-26: nothing can be sent after a reset, too-large or a failed write.
            if (closed) throw new ChannelException("closed", "the channel is closed");
            try {
                socket.getOutputStream().write(frame(message));
            } catch (IOException error) {
                throw new ChannelException("peer-gone", error.getMessage());
            }
        }

        /** Sends the close frame (SES-31) and frees the socket (SES-32). */
        void close() throws IOException {
            // TODO SES-34, SES-60 to SES-62: meanwhile read and drop what the peer sends.
            // TODO SES-50 to SES-52: not for longer than the linger.
            // TODO SES-36: send nothing after a reset or a failed write.
            // TODO RDV-48: not before the server has let this client in.
            if (closed) return; // SES-30
            closed = true;
            if (end == null) end = "local";
            try (socket) {
                socket.getOutputStream().write(new byte[4]);
                socket.shutdownOutput(); // SES-35
            } catch (IOException error) {
                // The peer has gone.
            }
        }

        static byte[] frame(byte[] message) {
            return ByteBuffer.allocate(4 + message.length).putInt(message.length).put(message).array();
        }
    }

    // ---- The control language (spec/conformance.md), one request at a time. It is complete.

    private Channel channel;
    private final StringBuilder answer = new StringBuilder();

    public static void main(String[] arguments) throws Exception {
        new Testee().run();
    }

    void run() throws Exception {
        System.out.println(
                "{\"language\": 1, \"name\": \"my client\", \"version\": \"0.1\", \"can\": [" + CAN + "]}");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = input.readLine()) != null; ) {
            Json request = new Json(line);
            answer.setLength(0);
            answer.append("{\"id\": " + (long) request.number("id", 0));
            serve(request, request.string("do"));
            System.out.println(answer + "}");
        }
        if (channel != null) channel.close();
    }

    void add(String key, Object value) {
        answer.append(", \"" + key + "\": " + value);
    }

    void serve(Json request, String told) throws Exception {
        try {
            perform(request, told);
        } catch (ChannelException error) {
            add("error", Json.quoted(error.code));
            add("text", Json.quoted(error.getMessage()));
        } catch (IOException error) {
            add("error", "\"other\"");
            add("text", Json.quoted(error.toString()));
        }
        boolean reads = Set.of("read", "drain", "echo").contains(told);
        if (reads && channel != null && channel.end != null) add("end", Json.quoted(channel.end));
    }

    void perform(Json request, String told) throws Exception {
        switch (told) {
            case "connect" -> connect(request);
            case "read" -> read();
            case "write" -> write(request);
            case "drain" -> drain();
            case "echo" -> forEachMessage(connected()::write);
            case "close" -> close();
            default -> throw new IllegalArgumentException(told); // a mistake of the suite
        }
    }

    void connect(Json request) throws Exception {
        close();
        channel = null; // also if this one fails
        // TODO: max_message_size (FRM-11) and linger (SES-50); bad-option if out of range.
        double timeout = request.number("timeout", 10);
        if (timeout < 0) throw new ChannelException("bad-option", "timeout is " + timeout);
        String in = request.string("in"), out = request.string("out");
        if (in == null) in = variable("IPC_CHANNEL_IN");
        if (out == null) out = variable("IPC_CHANNEL_OUT");
        channel = new Channel(in, out, timeout);
    }

    /** Returns a variable of the environment (RDV-7). */
    static String variable(String name) throws ChannelException {
        String value = System.getenv(name);
        if (value != null && !value.isEmpty()) return value;
        throw new ChannelException("bad-rendezvous", name + " is not set"); // RDV-8
    }

    void read() throws Exception {
        byte[] message = connected().read();
        if (message == null) return;
        String hash = HexFormat.of().formatHex(sha256().digest(message));
        add("message", "{\"size\": " + message.length + ", \"sha256\": " + Json.quoted(hash) + "}");
    }

    void write(Json request) throws ChannelException {
        byte[] pattern = HexFormat.of().parseHex(request.string("pattern"));
        int[] sizes = request.numbers("sizes");
        int count = (int) request.number("count", sizes.length);
        for (int number = 0; number < count; number++) {
            byte[] message = new byte[sizes[number % sizes.length]];
            for (int at = 0; at < message.length; at++) message[at] = pattern[at % pattern.length];
            connected().write(message);
        }
    }

    void drain() throws Exception {
        MessageDigest hash = sha256();
        try {
            forEachMessage(message -> hash.update(Channel.frame(message)));
        } finally {
            add("sha256", Json.quoted(HexFormat.of().formatHex(hash.digest())));
        }
    }

    interface Work {
        void on(byte[] message) throws ChannelException;
    }

    void forEachMessage(Work work) throws ChannelException {
        int count = 0;
        try {
            for (byte[] message; (message = connected().read()) != null; count++) work.on(message);
        } finally {
            add("messages", count);
        }
    }

    void close() throws IOException {
        if (channel != null) channel.close();
    }

    Channel connected() throws ChannelException {
        if (channel == null) throw new ChannelException("not-connected", "there is no channel");
        return channel;
    }

    static MessageDigest sha256() throws NoSuchAlgorithmException {
        return MessageDigest.getInstance("SHA-256");
    }
}
