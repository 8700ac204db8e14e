// Which network interface stands for a process, and plain socket calls.
//
// Follows: CANN "Environment Variables": HCCL_IF_IP, HCCL_SOCKET_IFNAME, HCCL_SOCKET_FAMILY.
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

namespace hccl {
namespace {

bool starts_with(const std::string &text, const char *start)
{
    return text.compare(0, strlen(start), start) == 0;
}

// HCCL_SOCKET_IFNAME: "eth,enp" starts of names, "=eth0" whole ones, "^" in front: all others.
bool is_wanted(const std::string &name, const char *wish)
{
    const bool all_others = *wish == '^';
    const bool whole = wish[all_others] == '=';
    std::string rest = wish + all_others + whole;

    for (size_t end; !rest.empty(); rest.erase(0, end == std::string::npos ? end : end + 1)) {
        end = rest.find(',');
        const std::string one = rest.substr(0, end);
        if (whole ? name == one : starts_with(name, one.c_str()))
            return !all_others;
    }
    return all_others;
}

// Lower is better: an ordinary interface, then docker's, then the loopback.
int worth(const ifaddrs *entry)
{
    if (entry->ifa_flags & IFF_LOOPBACK)
        return 2;
    return starts_with(entry->ifa_name, "docker") ? 1 : 0;
}

bool is_better(const ifaddrs *a, const ifaddrs *b)
{
    if (!b || worth(a) != worth(b))
        return !b || worth(a) < worth(b);
    return strcmp(a->ifa_name, b->ifa_name) < 0;
}

bool is_candidate(const ifaddrs *entry, int family, const char *wish)
{
    if (!entry->ifa_addr || entry->ifa_addr->sa_family != family || !(entry->ifa_flags & IFF_UP))
        return false;
    if (family == AF_INET6 &&
        IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<sockaddr_in6 *>(entry->ifa_addr)->sin6_addr))
        return false; /* means nothing without the name of an interface */
    return !wish || !*wish || is_wanted(entry->ifa_name, wish);
}

bool put(const sockaddr *from, Address *found)
{
    const socklen_t size = from->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    return getnameinfo(from, size, found->text, sizeof found->text, nullptr, 0, NI_NUMERICHOST) == 0;
}

} // namespace

bool address_here(Address *found, const char **why)
{
    const char *ip = getenv("HCCL_IF_IP"), *wish = getenv("HCCL_SOCKET_IFNAME");
    const char *family_name = getenv("HCCL_SOCKET_FAMILY");
    const int family = family_name && strcasecmp(family_name, "AF_INET6") == 0 ? AF_INET6 : AF_INET;
    in6_addr parsed;
    ifaddrs *all = nullptr, *best = nullptr;

    if (ip && *ip) {
        snprintf(found->text, sizeof found->text, "%s", ip);
        *why = "HCCL_IF_IP is not an address";
        return inet_pton(AF_INET, ip, &parsed) == 1 || inet_pton(AF_INET6, ip, &parsed) == 1;
    }
    *why = wish && *wish ? "HCCL_SOCKET_IFNAME fits no interface that is up"
                         : "no network interface is up, not even lo";
    if (getifaddrs(&all) != 0)
        return false;
    for (ifaddrs *entry = all; entry; entry = entry->ifa_next)
        if (is_candidate(entry, family, wish) && is_better(entry, best))
            best = entry;
    const bool done = best && put(best->ifa_addr, found);
    freeifaddrs(all);
    return done;
}

int listen_at(uint16_t port, bool six)
{
    const int file = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), off = 0;
    sockaddr_in four = {};
    sockaddr_in6 wide = {};

    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    wide.sin6_family = AF_INET6;
    wide.sin6_port = htons(port);
    if (file < 0)
        return -1;
    if (six)
        setsockopt(file, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    const sockaddr *at = six ? reinterpret_cast<sockaddr *>(&wide) : reinterpret_cast<sockaddr *>(&four);
    if (bind(file, at, six ? sizeof wide : sizeof four) == 0 && listen(file, SOMAXCONN) == 0)
        return file;
    close(file);
    return -1;
}

uint16_t port_of(int listener)
{
    sockaddr_storage at = {};
    socklen_t size = sizeof at;

    getsockname(listener, reinterpret_cast<sockaddr *>(&at), &size);
    return ntohs(at.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6 *>(&at)->sin6_port
                                          : reinterpret_cast<sockaddr_in *>(&at)->sin_port);
}

int connect_to(const Address &to, int timeout_ms)
{
    addrinfo hints = {}, *found = nullptr;
    char port[8];
    int on = 1, error = 0;
    socklen_t size = sizeof error;

    snprintf(port, sizeof port, "%u", to.port);
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(to.text, port, &hints, &found) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    const int file = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int code = file < 0 ? -1 : connect(file, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    pollfd writable = {file, POLLOUT, 0};
    if (file >= 0 && code != 0 && errno == EINPROGRESS && poll(&writable, 1, timeout_ms) == 1)
        getsockopt(file, SOL_SOCKET, SO_ERROR, &error, &size);
    else
        error = code == 0 ? 0 : errno == EINPROGRESS ? ETIMEDOUT : errno;
    if (file >= 0 && error == 0) {
        fcntl(file, F_SETFL, fcntl(file, F_GETFL) & ~O_NONBLOCK);
        setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return file;
    }
    if (file >= 0)
        close(file);
    errno = error;
    return -1;
}

bool send_all(int file, const void *data, size_t bytes)
{
    const char *from = static_cast<const char *>(data);

    while (bytes > 0) {
        const ssize_t sent = send(file, from, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        from += sent;
        bytes -= static_cast<size_t>(sent);
    }
    return true;
}

bool receive_all(int file, void *data, size_t bytes)
{
    char *to = static_cast<char *>(data);

    while (bytes > 0) {
        const ssize_t got = recv(file, to, bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        bytes -= static_cast<size_t>(got);
    }
    return true;
}

void limit_wait(int file, int timeout_ms)
{
    const timeval limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

    setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

} // namespace hccl
