/* A canned MCP server, as fast as one core allows: every answer is written beforehand but for its id.

   canned json       streamable HTTP, both eras, at a free port of loopback, printed; answers are JSON
   canned sse        the same, answers are event streams of one event, in one chunk
   canned stdio      one message a line

   It reads a request no further than its length, its "id" and its "method". */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ABOUT "{\"name\":\"canned\",\"version\":\"1\"}"
#define META "\"resultType\":\"complete\",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":" ABOUT "}"
#define CAPABILITIES "\"capabilities\":{\"tools\":{\"listChanged\":false}}"
#define TOOLS "\"tools\":[{\"name\":\"add\",\"inputSchema\":{\"type\":\"object\"}}]"
#define ANSWER "\"content\":[{\"type\":\"text\",\"text\":\"3\"}],\"isError\":false"

static int sse;

enum { SIZE = 1 << 16, MOST = 1024 };

static const char *result(const char *body, size_t length) {
    int modern = memmem(body, length, "modelcontextprotocol/protocolVersion", 36) != NULL;
    const char *method = memmem(body, length, "\"method\"", 8);
    if (!method) return "{}";
    size_t left = length - (method - body);
    if (memmem(method, left, "tools/call", 10)) return modern ? "{" ANSWER "," META "}" : "{" ANSWER "}";
    if (memmem(method, left, "server/discover", 15))
        return "{\"supportedVersions\":[\"2026-07-28\"],\"ttlMs\":0,\"cacheScope\":\"private\"," CAPABILITIES "," META "}";
    if (memmem(method, left, "initialize\"", 11))
        return "{\"protocolVersion\":\"2025-11-25\"," CAPABILITIES ",\"serverInfo\":" ABOUT "}";
    if (memmem(method, left, "tools/list", 10))
        return modern ? "{" TOOLS ",\"ttlMs\":0,\"cacheScope\":\"private\"," META "}" : "{" TOOLS "}";
    return modern ? "{" META "}" : "{}";
}

/* The id as it stands in the request, a number or a string; 0 where there is none: a notification. */
static size_t id_of(const char *body, size_t length, const char **id) {
    const char *at = memmem(body, length, "\"id\":", 5), *end = body + length;
    if (!at) return 0;
    for (at += 5; at < end && *at == ' ';) at++;
    *id = at;
    if (*at == '"') return (const char *)memchr(at + 1, '"', end - at - 1) - at + 1;
    while (at < end && *at != ',' && *at != '}') at++;
    return at - *id;
}

static size_t answer(char *out, const char *body, size_t length) {
    const char *id, *said = result(body, length);
    size_t digits = id_of(body, length, &id), of = strlen(said);
    if (!digits) return 0;
    char *to = mempcpy(out, "{\"jsonrpc\":\"2.0\",\"id\":", 22);
    to = mempcpy(to, id, digits);
    to = mempcpy(to, ",\"result\":", 10);
    to = mempcpy(to, said, of);
    *to++ = '}';
    return to - out;
}

static int all(int to, const char *data, size_t length) {
    while (length) {
        ssize_t wrote = write(to, data, length);
        if (wrote < 0 && errno != EINTR && errno != EAGAIN) return -1;
        if (wrote > 0) data += wrote, length -= wrote;
    }
    return 0;
}

static int stdio(void) {
    static char in[1 << 20], out[1 << 20];
    size_t held = 0;
    ssize_t got;
    while ((got = read(0, in + held, sizeof in - held)) > 0) {
        held += got;
        char *from = in, *end;
        size_t made = 0;
        while ((end = memchr(from, '\n', in + held - from))) {
            size_t said = answer(out + made, from, end - from);
            if (said) out[made + said] = '\n', made += said + 1;
            from = end + 1;
            if (made > sizeof out / 2) {
                if (all(1, out, made)) return 1;
                made = 0;
            }
        }
        held -= from - in;
        memmove(in, from, held);
        if (made && all(1, out, made)) return 1;
    }
    return 0;
}

struct connection {
    char in[SIZE];
    size_t held;
};

/* One request at the start of what is held: its whole length, or 0 where it is not complete. */
static size_t one(struct connection *c, int to) {
    char *end = memmem(c->in, c->held, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = end + 4 - c->in, length = 0;
    for (char *line = c->in; line < end; line = (char *)memchr(line, '\n', end + 4 - line) + 1)
        if (!strncasecmp(line, "content-length:", 15)) length = strtoul(line + 15, NULL, 10);
    if (c->held < head + length) return 0;
    static char body[SIZE], out[SIZE];
    size_t made = answer(body, c->in + head, length), wrote;
    const char *session = memmem(c->in + head, length, "\"initialize\"", 12) ? "Mcp-Session-Id: canned\r\n" : "";
    if (!strncmp(c->in, "GET", 3)) wrote = sprintf(out, "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
    else if (!made) wrote = sprintf(out, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", length ? "202 Accepted" : "200 OK");
    else if (sse) {
        wrote = sprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%sTransfer-Encoding: chunked\r\n\r\n"
                        "%zx\r\nevent: message\r\ndata: ", session, made + 26);
        memcpy(out + wrote, body, made);
        wrote += made;
        wrote += sprintf(out + wrote, "\r\n\r\n\r\n0\r\n\r\n");
    } else {
        wrote = sprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n", session, made);
        memcpy(out + wrote, body, made);
        wrote += made;
    }
    return all(to, out, wrote) ? 0 : head + length;
}

static int http(void) {
    int door = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0), yes = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    static struct connection *of[MOST];
    if (bind(door, (struct sockaddr *)&at, sizeof at) || listen(door, 512)) return 1;
    getsockname(door, (struct sockaddr *)&at, &size);
    printf("listening on http://127.0.0.1:%d/mcp\n", ntohs(at.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = door}, events[64];
    epoll_ctl(poll, EPOLL_CTL_ADD, door, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            int from = events[i].data.fd;
            if (from == door) {
                int made = accept(door, NULL, NULL);
                if (made < 0 || made >= MOST) {
                    close(made);
                    continue;
                }
                setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                if (!of[made]) of[made] = malloc(sizeof *of[made]);
                of[made]->held = 0;
                event.data.fd = made;
                epoll_ctl(poll, EPOLL_CTL_ADD, made, &event);
                continue;
            }
            struct connection *c = of[from];
            ssize_t got = read(from, c->in + c->held, SIZE - c->held);
            if (got <= 0) {
                close(from);
                continue;
            }
            c->held += got;
            for (size_t used; (used = one(c, from));) {
                c->held -= used;
                memmove(c->in, c->in + used, c->held);
            }
        }
    }
}

int main(int count, char **words) {
    sse = count > 1 && !strcmp(words[1], "sse");
    return count > 1 && !strcmp(words[1], "stdio") ? stdio() : http();
}
