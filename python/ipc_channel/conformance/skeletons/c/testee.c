/* A client of ipc-channel in C, and around it a testee for the conformance suite.
 *
 *   cc -std=c11 -O2 -o testee testee.c && ipc-channel conformance --transport tcp -- ./testee
 *
 * Ids such as RDV-43 are requirements of the specification: FRM in spec/framing.md, RDV in
 * spec/rendezvous.md, SES in spec/session.md, ERR in spec/errors.md.
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

/* TODO: say what else your client can do: named_pipe, max_message_size, linger, */
/* concurrent (SES-11, SES-20, SES-33), cancel (SES-10, SES-21). */
#define CAN "\"tcp\""
#define LIMIT (64u << 20) /* FRM-6 */

/* A function that can fail returns NULL or one of the codes of spec/errors.md, and says why. */
typedef const char *code;
static char why[256];

static code fail(code error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return error;
}

/* ---- Your client: connect, read, write, close. This one does the simplest thing over TCP. */

struct channel {
    bool exists; /* it was connected, and may be closed by now */
    bool closed;
    int fd;
    const char *end; /* the end reason, once there is one */
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Return a port from 1 to 65535, or 0. */
static long port_of(const char *text) {
    /* TODO RDV-4: the other hosts. RDV-5: all that is refused here stays refused. */
    if (strncmp(text, "127.0.0.1:", 10) == 0) text += 10;
    size_t digits = strspn(text, "0123456789");
    if (*text == '0' || digits > 5 || text[digits]) return 0;
    long port = strtol(text, NULL, 10);
    return port <= 65535 ? port : 0;
}

/* Try again until the timeout (RDV-9, RDV-43). */
static code channel_connect(struct channel *channel, const char *in, const char *out, double timeout) {
    /* TODO RDV-1, RDV-6, RDV-20 to RDV-38: named pipes. */
    /* TODO RDV-9: this connect blocks for long if the queue of the server is full. */
    /* TODO RDV-12: pause for 1 ms first, then twice as long each time, up to 20 ms. */
    /* TODO RDV-14: also after other errors, which the timeout then names. */
    /* TODO RDV-44: not to itself. RDV-45: TCP_NODELAY. RDV-49: a reset is an end. */
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(in))};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (strcmp(in, out) != 0 || !port_of(in))
        return fail("bad-rendezvous", "'%.100s' and '%.100s' lead to no server", in, out);
    for (double deadline = now() + timeout;; nanosleep(&pause, NULL)) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0) return fail("other", "socket: %s", strerror(errno));
        if (connect(fd, (struct sockaddr *)&server, sizeof server) == 0) {
            *channel = (struct channel){.exists = true, .fd = fd};
            return NULL;
        }
        int error = errno;
        close(fd);
        if (error != ECONNREFUSED) return fail("other", "connect: %s", strerror(error));
        if (now() >= deadline) return fail("timeout", "no server at port %ld", port_of(in));
    }
}

/* Return how many bytes came before the end of the stream, or -1 after a reset. */
static ssize_t receive(int fd, unsigned char *bytes, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t count = read(fd, bytes + done, size - done);
        if (count == 0) break;
        if (count > 0) done += (size_t)count;
        else if (errno != EINTR) return -1;
    }
    return (ssize_t)done;
}

static bool send_all(int fd, const unsigned char *bytes, size_t size) {
    while (size > 0) {
        ssize_t count = write(fd, bytes, size);
        if (count < 0 && errno != EINTR) return false;
        if (count > 0) bytes += count, size -= (size_t)count;
    }
    return true;
}

/* Return a message to be freed, or set the end reason and return NULL. */
static unsigned char *read_frame(struct channel *channel, size_t *size) {
    /* TODO SES-3: an end of the stream after a write has met a reset is a reset. */
    unsigned char header[4], *message = NULL;
    ssize_t count = receive(channel->fd, header, 4);
    if (count == 4) {
        *size = (size_t)header[0] << 24 | (size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3];
        if (*size == 0) channel->end = "clean";             /* FRM-3 */
        else if (*size > LIMIT) channel->end = "too_large"; /* FRM-8 */
        if (channel->end) return NULL;
        message = allocate(*size);
        count = receive(channel->fd, message, *size);
        if (count == (ssize_t)*size) return message;
        free(message);
        channel->end = count < 0 ? "reset" : "truncated"; /* FRM-10 */
    } else
        channel->end = count < 0 ? "reset" : count > 0 ? "truncated" : "eof";
    return NULL;
}

/* Give a message to be freed, or NULL at an orderly end; an end stays (SES-1). */
static code channel_read(struct channel *channel, unsigned char **message, size_t *size) {
    *message = channel->end ? NULL : read_frame(channel, size);
    if (!channel->end) return NULL;
    fail("", "the session ended: %s", channel->end);
    if (strcmp(channel->end, "too_large") == 0) return "too-large";
    bool failed = strcmp(channel->end, "truncated") == 0 || strcmp(channel->end, "reset") == 0;
    return failed ? channel->end : NULL;
}

static void put_size(unsigned char *header, size_t size) {
    for (int i = 0; i < 4; i++) header[i] = (unsigned char)(size >> (24 - 8 * i)); /* FRM-1 */
}

static code channel_write(struct channel *channel, const unsigned char *message, size_t size) {
    /* TODO FRM-4, FRM-7: refuse an empty message, and one over the limit. */
    /* TODO SES-26: nothing can be sent after a reset, too-large or a failed write. */
    if (channel->closed) return fail("closed", "the channel is closed");
    unsigned char *frame = allocate(4 + size);
    put_size(frame, size);
    memcpy(frame + 4, message, size);
    bool sent = send_all(channel->fd, frame, 4 + size);
    free(frame);
    return sent ? NULL : fail("peer-gone", "write: %s", strerror(errno));
}

/* Send the close frame (SES-31) and free the socket (SES-32). */
static void channel_close(struct channel *channel) {
    /* TODO SES-34, SES-60 to SES-62: meanwhile read and drop what the peer sends. */
    /* TODO SES-50 to SES-52: not for longer than the linger. */
    /* TODO SES-36: send nothing after a reset or a failed write. */
    /* TODO RDV-48: not before the server has let this client in. */
    if (!channel->exists || channel->closed) return; /* SES-30 */
    channel->closed = true;
    if (!channel->end) channel->end = "local";
    send_all(channel->fd, (const unsigned char[4]){0}, 4);
    shutdown(channel->fd, SHUT_WR); /* SES-35 */
    close(channel->fd);
}

/* ---- The control language (spec/conformance.md), one request at a time. It is complete. */

/* Each request prints its answer as far as it comes. */
static struct channel channel;

static code do_connect(const char *request) {
    /* TODO: max_message_size (FRM-11) and linger (SES-50); bad-option if out of range. */
    const char *named[] = {find(request, "in"), find(request, "out")};
    static const char *const variables[] = {"IPC_CHANNEL_IN", "IPC_CHANNEL_OUT"};
    double timeout = number(find(request, "timeout"), 10);
    char *texts[2] = {NULL, NULL};
    code error = NULL;
    channel_close(&channel);
    channel.exists = false; /* also if this one fails */
    if (timeout < 0) return fail("bad-option", "timeout is %g", timeout);
    for (int i = 0; i < 2 && !error; i++) {
        const char *value = getenv(variables[i]);
        if (named[i]) texts[i] = string(named[i]);
        else if (value && *value) texts[i] = strcpy(allocate(strlen(value) + 1), value); /* RDV-7 */
        else error = fail("bad-rendezvous", "%s is not set", variables[i]);              /* RDV-8 */
        if (!error && !texts[i]) error = fail("bad-rendezvous", "there is a NUL in it");
    }
    if (!error) error = channel_connect(&channel, texts[0], texts[1], timeout);
    free(texts[0]);
    free(texts[1]);
    return error;
}

static code do_read(void) {
    struct sha256 hash;
    unsigned char *message;
    size_t size;
    code error = channel_read(&channel, &message, &size);
    if (!message) return error;
    sha256_begin(&hash);
    sha256_add(&hash, message, size);
    printf(", \"message\": {\"size\": %zu, \"sha256\": \"", size);
    sha256_print(&hash);
    printf("\"}");
    free(message);
    return NULL;
}

static code do_write(const char *request) {
    size_t length, count;
    char *hex = string(find(request, "pattern"));
    size_t *sizes = numbers(find(request, "sizes"), &count);
    size_t wanted = (size_t)number(find(request, "count"), (double)count);
    code error = NULL;
    for (length = 0; sscanf(hex + 2 * length, "%2hhx", (unsigned char *)hex + length) == 1;) length++;
    for (size_t i = 0; i < wanted && !error; i++) {
        size_t size = sizes[i % count];
        unsigned char *message = allocate(size);
        for (size_t at = 0; at < size; at++) message[at] = (unsigned char)hex[at % length];
        error = channel_write(&channel, message, size);
        free(message);
    }
    free(hex);
    free(sizes);
    return error;
}

static code do_drain(void) {
    struct sha256 hash;
    unsigned char *message, header[4];
    size_t size, count = 0;
    code error;
    for (sha256_begin(&hash); !(error = channel_read(&channel, &message, &size)) && message; count++) {
        put_size(header, size);
        sha256_add(&hash, header, 4);
        sha256_add(&hash, message, size);
        free(message);
    }
    printf(", \"messages\": %zu, \"sha256\": \"", count);
    sha256_print(&hash);
    putchar('"');
    return error;
}

static code do_echo(void) {
    unsigned char *message;
    size_t size, count = 0;
    code error;
    while (!(error = channel_read(&channel, &message, &size)) && message) {
        error = channel_write(&channel, message, size);
        free(message);
        if (error) break;
        count++;
    }
    printf(", \"messages\": %zu", count);
    return error;
}

static void serve(const char *request) {
    char *told = string(find(request, "do"));
    bool connects = strcmp(told, "connect") == 0, closes = strcmp(told, "close") == 0;
    bool writes = strcmp(told, "write") == 0, reads = strcmp(told, "read") == 0;
    bool drains = strcmp(told, "drain") == 0, echoes = strcmp(told, "echo") == 0;
    code error = NULL;
    if (closes) channel_close(&channel);
    else if (connects) error = do_connect(request);
    else if (!(reads || writes || drains || echoes)) exit(1); /* a mistake of the suite */
    else if (!channel.exists) error = fail("not-connected", "there is no channel");
    else error = writes ? do_write(request) : reads ? do_read() : drains ? do_drain() : do_echo();
    if (error) printf(", \"error\": \"%s\", \"text\": ", error), print_string(why);
    bool may_end = channel.exists && channel.end && (reads || drains || echoes);
    if (may_end) printf(", \"end\": \"%s\"", channel.end);
    free(told);
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    signal(SIGPIPE, SIG_IGN);
    printf("{\"language\": 1, \"name\": \"my client\", \"version\": \"0.1\", \"can\": [" CAN "]}\n");
    fflush(stdout);
    while (getline(&line, &size, stdin) > 0) {
        printf("{\"id\": %.0f", number(find(line, "id"), 0));
        serve(line);
        printf("}\n");
        fflush(stdout);
    }
    free(line);
    channel_close(&channel);
    return 0;
}
