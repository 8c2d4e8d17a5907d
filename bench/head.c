/*
 * Ask for HEAD as fast as a server answers, on connections that are kept.
 *
 * wrk cannot: it waits for the body that Content-Length announces and HEAD never has
 * (so does h2load).
 *
 *   head PORT CONNECTIONS SECONDS FIRST_ID IDS STATUS
 *
 * asks for /FIRST_ID ... /FIRST_ID+IDS-1 in turn, and prints as JSON how many answers
 * came in how many seconds, and how many of them were not of that status or had a body.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
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
    size_t used;
    char answer[ANSWER_SIZE + 1];
};

static struct connection connections[MAX_CONNECTIONS];
static int poller, port;
static long first_id, ids, next_id, answers, failures, reconnects;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void ask(struct connection *c)
{
    char request[128];
    int length = snprintf(request, sizeof request,
                          "HEAD /%ld HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                          first_id + next_id++ % ids);
    /* Small enough for any socket's buffer. A connection that the server has just
     * closed is seen by the read that follows. */
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
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) < 0)
        fail("epoll_ctl");
    ask(c);
}

static void reconnect(struct connection *c)
{
    close(c->fd);
    reconnects++;
    connect_and_ask(c);
}

/* Read what is there; when an answer is whole, count it and ask for the next. */
static void on_readable(struct connection *c, int status)
{
    ssize_t count = recv(c->fd, c->answer + c->used, ANSWER_SIZE - c->used, 0);
    char *end;
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
    if (argc != 7) {
        fprintf(stderr, "head PORT CONNECTIONS SECONDS FIRST_ID IDS STATUS\n");
        return 2;
    }
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
