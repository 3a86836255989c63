/* Framed messages over two file descriptors that block. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 4, CHUNK = 68 << 10, CAPACITY = 1 << 20, LINE = 4096, PAGE = 4096 };

/* What is read to is at the start of a page: some processors copy several times more slowly
 * to an address just behind that of the source, modulo a page, where malloc's blocks are. */
struct channel {
	int in, out;
	size_t start, end; /* of what is read and not taken in buffer */
	_Alignas(PAGE) uint8_t buffer[CHUNK];
	uint8_t *message; /* the last one that was read */
	size_t size, room;
};

static struct channel channel;

static void fail(const char *what)
{
	fprintf(stderr, "helper: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long long check(long long result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

static long long now(clockid_t clock)
{
	struct timespec t;
	check(clock_gettime(clock, &t), "clock_gettime");
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Messages */

static void write_rest(const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t count = check(write(channel.out, data, size), "write");
		data += count;
		size -= count;
	}
}

static void write_message(const void *data, size_t size)
{
	uint32_t header = htonl(size);
	struct iovec parts[2] = {{&header, HEADER}, {(void *)data, size}};
	size_t count = check(writev(channel.out, parts, 2), "writev");
	if (count < HEADER) {
		write_rest((uint8_t *)&header + count, HEADER - count);
		count = HEADER;
	}
	write_rest((const uint8_t *)data + count - HEADER, size + HEADER - count);
}

static size_t read_some(uint8_t *to, size_t size)
{
	size_t count = check(read(channel.in, to, size), "read");
	if (!count) {
		fprintf(stderr, "helper: the other end has gone\n");
		exit(1);
	}
	return count;
}

static void take(uint8_t *to, size_t size)
{
	while (size) {
		size_t count = channel.end - channel.start;
		if (!count && size >= CHUNK) {
			count = read_some(to, size);
		} else {
			if (!count) {
				channel.start = 0;
				channel.end = count = read_some(channel.buffer, CHUNK);
			}
			count = count < size ? count : size;
			memcpy(to, channel.buffer + channel.start, count);
			channel.start += count;
		}
		to += count;
		size -= count;
	}
}

static void read_message(void)
{
	uint32_t header;
	take((uint8_t *)&header, HEADER);
	channel.size = ntohl(header);
	if (channel.size + 1 > channel.room) {
		channel.room = (channel.size / PAGE + 1) * PAGE;
		free(channel.message);
		channel.message = aligned_alloc(PAGE, channel.room);
		if (!channel.message)
			fail("aligned_alloc");
	}
	take(channel.message, channel.size);
	channel.message[channel.size] = 0; /* orders are text */
}
