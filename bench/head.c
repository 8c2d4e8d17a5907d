/*
 * Ask for HEAD as fast as a server answers, on connections that are kept.
 *
 * wrk cannot: it waits for the body that Content-Length announces and HEAD never has
 * (so does h2load).
 *
 *   head PORT CONNECTIONS SECONDS FIRST_ID IDS STATUS [FIELDS [tls]]
 *
 * asks for /FIRST_ID ... /FIRST_ID+IDS-1 in turn, and prints as JSON how many answers
 * came in how many seconds, and how many of them were not of that status or had a body.
 * FIELDS go into each request, each with its CRLF. With "tls" it speaks TLS and looks at
 * no certificate; OpenSSL is loaded only then, by what everybody has of it: no headers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 1024, ANSWER_SIZE = 8192 };

struct connection {
    int fd;
    void *tls;
    size_t used;
    char answer[ANSWER_SIZE + 1];
};

static struct connection connections[MAX_CONNECTIONS];
static int poller, port;
static long first_id, ids, next_id, answers, failures, reconnects;
static const char *fields = "";

/* Of OpenSSL 3: its contexts and connections are opaque to whoever uses them. */
static void *tls_context;
static void *(*tls_new)(void *);
static int (*tls_set_fd)(void *, int), (*tls_connect)(void *);
static int (*tls_write)(void *, const void *, int), (*tls_read)(void *, void *, int);
static void (*tls_free)(void *);

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void *find(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return found;
}

static void load_tls(void)
{
    void *library = dlopen("libssl.so.3", RTLD_NOW);
    void *(*method)(void), *(*new_context)(void *);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(void **)&method = find(library, "TLS_client_method");
    *(void **)&new_context = find(library, "SSL_CTX_new");
    *(void **)&tls_new = find(library, "SSL_new");
    *(void **)&tls_set_fd = find(library, "SSL_set_fd");
    *(void **)&tls_connect = find(library, "SSL_connect");
    *(void **)&tls_write = find(library, "SSL_write");
    *(void **)&tls_read = find(library, "SSL_read");
    *(void **)&tls_free = find(library, "SSL_free");
    tls_context = new_context(method());
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void ask(struct connection *c)
{
    char request[8192];
    int length = snprintf(request, sizeof request,
                          "HEAD /%ld HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n",
                          first_id + next_id++ % ids, fields);
    if (length >= (int)sizeof request)
        fail("fields too long");
    /* Small enough for any socket's buffer. A connection that the server has just
     * closed is seen by the read that follows. */
    if (c->tls != NULL)
        tls_write(c->tls, request, length);
    else
        send(c->fd, request, (size_t)length, MSG_NOSIGNAL);
    c->used = 0;
}

static void connect_and_ask(struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (tls_context != NULL) {
        c->tls = tls_new(tls_context);
        if (tls_set_fd(c->tls, c->fd) != 1 || tls_connect(c->tls) != 1)
            fail("TLS");
    }
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) < 0)
        fail("epoll_ctl");
    ask(c);
}

static void reconnect(struct connection *c)
{
    if (c->tls != NULL)
        tls_free(c->tls);
    close(c->fd);
    reconnects++;
    connect_and_ask(c);
}

/* Read what is there; when an answer is whole, count it and ask for the next. */
static void on_readable(struct connection *c, int status)
{
    char *into = c->answer + c->used, *end;
    size_t room = ANSWER_SIZE - c->used;
    ssize_t count = c->tls != NULL ? tls_read(c->tls, into, (int)room)
                                   : recv(c->fd, into, room, 0);
    if (count <= 0) {
        /* Between two answers a server may close; within one it may not. */
        failures += c->used > 0;
        reconnect(c);
        return;
    }
    c->used += (size_t)count;
    c->answer[c->used] = '\0';
    end = strstr(c->answer, "\r\n\r\n");
    if (end == NULL) {
        if (c->used == ANSWER_SIZE) {
            failures++;
            reconnect(c);
        }
        return;
    }
    answers++;
    failures += c->used < 12 || atoi(c->answer + 9) != status || end[4] != '\0';
    if (strcasestr(c->answer, "\r\nConnection: close") != NULL)
        reconnect(c);
    else
        ask(c);
}

int main(int argc, char **argv)
{
    struct epoll_event events[64];
    double start, end, seconds;
    int count, status;
    if (argc < 7 || argc > 9) {
        fprintf(stderr,
                "head PORT CONNECTIONS SECONDS FIRST_ID IDS STATUS [FIELDS [tls]]\n");
        return 2;
    }
    /* OpenSSL writes to a connection that the server has closed. */
    signal(SIGPIPE, SIG_IGN);
    if (argc > 7)
        fields = argv[7];
    if (argc > 8)
        load_tls();
    port = atoi(argv[1]);
    count = atoi(argv[2]);
    seconds = atof(argv[3]);
    first_id = atol(argv[4]);
    ids = atol(argv[5]);
    status = atoi(argv[6]);
    if (count < 1 || count > MAX_CONNECTIONS || ids < 1)
        return 2;
    poller = epoll_create1(0);
    if (poller < 0)
        fail("epoll_create1");
    start = now();
    for (int i = 0; i < count; i++)
        connect_and_ask(&connections[i]);
    while ((end = now()) < start + seconds) {
        int ready = epoll_wait(poller, events, 64, 100);
        if (ready < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < ready; i++)
            on_readable(events[i].data.ptr, status);
    }
    printf("{\"requests\": %ld, \"seconds\": %.6f, \"failures\": %ld,"
           " \"reconnects\": %ld}\n",
           answers, end - start, failures, reconnects);
    return 0;
}
