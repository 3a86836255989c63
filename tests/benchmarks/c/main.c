/* The limit without an interpreter: driver and peer over blocking system calls.
 *
 *     helper driver TRANSPORT DIRECTORY
 *     helper peer TRANSPORT
 *
 * Orders, answers and the wire are those of control.py and async_end.py.
 */
#include "message.h"
#include "connect.h"

#define HELLO "hello"

/* Work of both ends */

struct sending {
	uint8_t *payload;
	size_t count, size;
};

static void *send_all(void *argument)
{
	struct sending *sending = argument;
	for (size_t i = 0; i < sending->count; i++)
		write_message(sending->payload, sending->size);
	return NULL;
}

static size_t sink(size_t count)
{
	size_t received = 0;
	while (count--) {
		read_message();
		received += channel.size;
	}
	return received;
}

static size_t exchange(struct sending *sending)
{
	pthread_t thread;
	errno = pthread_create(&thread, NULL, send_all, sending);
	if (errno)
		fail("pthread_create");
	size_t received = sink(sending->count);
	pthread_join(thread, NULL);
	return received;
}

static uint8_t *payload_of(size_t size)
{
	uint8_t *payload = malloc(size);
	if (!payload)
		fail("malloc");
	for (size_t i = 0; i < size; i++)
		payload[i] = i * 2654435761u >> 24;
	return payload;
}

/* The driver */

static void order(const char *name, size_t count, size_t size)
{
	char text[LINE];
	write_message(text, snprintf(text, LINE, "%s %zu %zu", name, count, size));
}

static long long acknowledgement(size_t *received)
{
	long long cpu;
	read_message();
	if (sscanf((char *)channel.message, "%lld %zu", &cpu, received) != 2)
		fail("acknowledgement");
	return cpu;
}

static long long peer_cpu(void)
{
	size_t received;
	order("sink", 0, 0);
	return acknowledgement(&received);
}

static void expect(size_t wanted, size_t got)
{
	if (wanted == got)
		return;
	fprintf(stderr, "helper: sent %zu bytes and got %zu\n", wanted, got);
	exit(1);
}

/* Fail unless the echo has the length and the first bytes of what was sent. */
static void check_echo(const struct sending *work, size_t compared)
{
	if (channel.size == work->size && !memcmp(channel.message, work->payload, compared))
		return;
	fprintf(stderr, "helper: sent %zu bytes and got other %zu\n", work->size, channel.size);
	exit(1);
}

/* As in async_end.py: neighbours differ in a byte; the first and last are compared. */
static long long round_trip(struct sending *work)
{
	size_t received;
	order("echo", work->count, work->size);
	long long start = now(CLOCK_MONOTONIC);
	for (size_t i = 0; i < work->count; i++) {
		work->payload[0] ^= 1;
		write_message(work->payload, work->size);
		read_message();
		check_echo(work, i && i + 1 < work->count ? 1 : work->size);
	}
	long long spent = now(CLOCK_MONOTONIC) - start;
	acknowledgement(&received);
	return spent;
}

static long long one_way(struct sending *work)
{
	size_t received;
	order("sink", work->count, work->size);
	long long start = now(CLOCK_MONOTONIC);
	send_all(work);
	acknowledgement(&received);
	long long spent = now(CLOCK_MONOTONIC) - start;
	expect(work->count * work->size, received);
	return spent;
}

static long long both(struct sending *work)
{
	size_t received;
	order("both", work->count, work->size);
	long long start = now(CLOCK_MONOTONIC);
	size_t got = exchange(work);
	acknowledgement(&received);
	long long spent = now(CLOCK_MONOTONIC) - start;
	expect(2 * work->count * work->size, received + got);
	return spent;
}

static void report(size_t number, const char *kind, size_t count, size_t size)
{
	uint8_t *payload = payload_of(size);
	struct sending work = {payload, count, size};
	long long peer = peer_cpu(), own = now(CLOCK_PROCESS_CPUTIME_ID), spent;
	if (!strcmp(kind, "round_trip"))
		spent = round_trip(&work);
	else if (!strcmp(kind, "one_way"))
		spent = one_way(&work);
	else
		spent = both(&work);
	own = now(CLOCK_PROCESS_CPUTIME_ID) - own;
	peer = peer_cpu() - peer;
	printf("{\"order\": %zu, \"ns\": %lld, ", number, spent);
	printf("\"driver_cpu\": %lld, \"peer_cpu\": %lld}\n", own, peer);
	fflush(stdout);
	free(payload);
}

static void drive(void)
{
	char line[LINE], kind[LINE];
	size_t number, count, size;
	read_message();
	long long first = now(CLOCK_MONOTONIC);
	errno = EPROTO;
	if (channel.size != strlen(HELLO) || memcmp(channel.message, HELLO, channel.size))
		fail("hello");
	printf("{\"first\": %lld}\n", first);
	fflush(stdout);
	while (fgets(line, LINE, stdin) &&
	       sscanf(line, "%zu %s %zu %zu", &number, kind, &count, &size) == 4)
		report(number, kind, count, size);
	write_message("quit", 4);
}

/* The peer */

static void serve(void)
{
	char name[LINE];
	write_message(HELLO, strlen(HELLO));
	for (;;) {
		size_t count = 0, size = 0, received = 0;
		read_message();
		sscanf((char *)channel.message, "%4095s %zu %zu", name, &count, &size);
		if (!strcmp(name, "quit"))
			return;
		if (!strcmp(name, "sink"))
			received = sink(count);
		else if (!strcmp(name, "both")) {
			struct sending work = {payload_of(size), count, size};
			received = exchange(&work);
			free(work.payload);
		} else
			while (count--) {
				read_message();
				write_message(channel.message, channel.size);
			}
		int length = snprintf(name, LINE, "%lld %zu", now(CLOCK_PROCESS_CPUTIME_ID), received);
		write_message(name, length);
	}
}

static void await_go(struct address *at)
{
	char line[2 * LINE];
	if (!fgets(line, sizeof line, stdin) || strncmp(line, "go", 2))
		exit(1);
	if (at && sscanf(line, "go\t%4095[^\t]\t%4095[^\n]", at->in, at->out) != 2)
		exit(1);
}

int main(int count, char **arguments)
{
	static struct address at;
	if (count == 4 && !strcmp(arguments[1], "driver")) {
		listen_on(arguments[2], arguments[3], &at);
		printf("{\"address\": [\"%s\", \"%s\"]}\n", at.in, *at.out ? at.out : at.in);
		fflush(stdout);
		await_go(NULL);
		accept_at(arguments[2], &at);
		drive();
	} else if (count == 3 && !strcmp(arguments[1], "peer")) {
		printf("{\"address\": []}\n");
		fflush(stdout);
		await_go(&at);
		dial(arguments[2], &at);
		serve();
	} else {
		fprintf(stderr, "usage: helper driver TRANSPORT DIRECTORY | helper peer TRANSPORT\n");
		return 2;
	}
	return 0;
}
