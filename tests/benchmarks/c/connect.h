/* How the two ends meet; needs message.h. */
struct address {
	char in[LINE], out[LINE];
	int listener;
};

static int open_pipe(const char *path, int mode)
{
	int fd = check(open(path, mode), path);
#ifdef F_SETPIPE_SZ
	check(fcntl(fd, F_SETPIPE_SZ, CAPACITY), "F_SETPIPE_SZ");
#endif
	return fd;
}

static void use_socket(int fd, int is_tcp)
{
	int on = 1;
	if (is_tcp)
		check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
	channel.in = channel.out = fd;
}

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
	return name;
}

static struct sockaddr_in tcp_address(const char *port)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return name;
}

static void listen_on(const char *transport, const char *directory, struct address *at)
{
	if (!strcmp(transport, "named_pipe")) {
		snprintf(at->in, LINE, "%s/to_peer", directory);
		snprintf(at->out, LINE, "%s/to_driver", directory);
		check(mkfifo(at->in, 0600), at->in);
		check(mkfifo(at->out, 0600), at->out);
	} else if (!strcmp(transport, "unix")) {
		snprintf(at->in, LINE, "%s/socket", directory);
		struct sockaddr_un name = unix_address(at->in);
		at->listener = check(socket(AF_UNIX, SOCK_STREAM, 0), "socket");
		check(bind(at->listener, (void *)&name, sizeof name), at->in);
	} else {
		struct sockaddr_in name = tcp_address("0");
		socklen_t size = sizeof name;
		at->listener = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
		check(bind(at->listener, (void *)&name, size), "bind");
		check(getsockname(at->listener, (void *)&name, &size), "getsockname");
		snprintf(at->in, LINE, "%d", ntohs(name.sin_port));
	}
	if (at->listener)
		check(listen(at->listener, 1), "listen");
}

static void accept_at(const char *transport, struct address *at)
{
	if (at->listener) {
		int fd = check(accept(at->listener, NULL, NULL), "accept");
		use_socket(fd, !strcmp(transport, "tcp"));
		return;
	}
	channel.out = open_pipe(at->in, O_WRONLY); /* the peer opens in the same order */
	channel.in = open_pipe(at->out, O_RDONLY);
}

static void dial(const char *transport, struct address *at)
{
	if (!strcmp(transport, "named_pipe")) {
		channel.in = open_pipe(at->in, O_RDONLY);
		channel.out = open_pipe(at->out, O_WRONLY);
		return;
	}
	struct sockaddr_un local = unix_address(at->in);
	struct sockaddr_in loopback = tcp_address(at->in);
	int is_tcp = !strcmp(transport, "tcp");
	int fd = check(socket(is_tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0), "socket");
	if (is_tcp)
		check(connect(fd, (void *)&loopback, sizeof loopback), "connect");
	else
		check(connect(fd, (void *)&local, sizeof local), "connect");
	use_socket(fd, is_tcp);
}
