// One thread a process that answers calls; started by the first communicator.
#include "switchboard.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <vector>

#include "address.h"
#include "call.h"
#include "gathering.h"
#include "settings.h"

namespace hccl {
namespace {

constexpr int kSliceMs = 100;
constexpr int kCallMs = 5000; // for a caller to say what it wants

struct Wire {
    Identity communicator;
    uint64_t epoch;
    uint32_t rank;
    int file;
};

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
pid_t running_in;            // a fork has no thread of its own
Address address;             // valid where running_in is this process
std::vector<int> *listeners; // guarded by the lock, read by the thread
std::vector<Wire> *wires;    // that nobody has asked for yet

void answer_call(int file, Gatherings &gatherings)
{
    Call call;

    limit_wait(file, kCallMs);
    if (!receive_all(file, &call, sizeof call) || call.magic != kCallMagic || call.ranks == 0) {
        close(file);
    } else if (call.purpose == Purpose::kGather) {
        gatherings.join(call, file);
    } else {
        pthread_mutex_lock(&lock);
        wires->push_back({call.identity, call.epoch, call.member.rank, file});
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
}

void *work(void *)
{
    Gatherings gatherings;

    for (;;) {
        std::vector<pollfd> waiting;
        pthread_mutex_lock(&lock);
        for (int listener : *listeners)
            waiting.push_back({listener, POLLIN, 0});
        pthread_mutex_unlock(&lock);
        poll(waiting.data(), waiting.size(), kSliceMs);
        for (const pollfd &one : waiting) {
            const int file = one.revents & POLLIN
                                 ? accept4(one.fd, nullptr, nullptr, SOCK_CLOEXEC)
                                 : -1;
            if (file >= 0)
                answer_call(file, gatherings);
        }
        gatherings.expire();
    }
}

// The program's signal handlers must not run on our thread.
bool start_thread()
{
    sigset_t every, before;
    pthread_t thread;

    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    const bool started = pthread_create(&thread, nullptr, work, nullptr) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (started)
        pthread_detach(thread);
    return started;
}

int listen_near(uint16_t port, bool six)
{
    int file = listen_at(port, six);

    for (uint16_t next = 1; file < 0 && port != 0 && next < 64 && errno == EADDRINUSE; next++)
        file = listen_at(static_cast<uint16_t>(port + next), six);
    return file;
}

// Caller holds the lock.
HcclResult start()
{
    const char *why;

    if (running_in == getpid())
        return HCCL_SUCCESS;
    if (!address_here(&address, &why))
        return fail(HCCL_E_NOT_FOUND, "%s", why);
    const int listener = listen_near(base_port(), strchr(address.text, ':') != nullptr);
    if (listener < 0)
        return fail(HCCL_E_UNAVAIL, "EI0019: no port to listen at: %s", strerror(errno));
    address.port = port_of(listener);
    listeners = new std::vector<int>{listener};
    wires = new std::vector<Wire>;
    if (!start_thread())
        return fail(HCCL_E_SYSCALL, "the host refuses one more thread");
    running_in = getpid();
    return HCCL_SUCCESS;
}

HcclResult also(int listener, const char *where)
{
    if (listener < 0)
        return fail(HCCL_E_UNAVAIL, "EI0019: cannot listen at %s: %s", where, strerror(errno));
    listeners->push_back(listener);
    return HCCL_SUCCESS;
}

socklen_t put(sockaddr_un *at, const char *name)
{
    memset(at, 0, sizeof *at);
    at->sun_family = AF_UNIX;
    snprintf(at->sun_path + 1, sizeof at->sun_path - 1, "%s", name); // in no file system
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + strlen(name));
}

int connect_named(const char *name)
{
    sockaddr_un at;
    const socklen_t size = put(&at, name);
    const int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (file >= 0 && connect(file, reinterpret_cast<sockaddr *>(&at), size) == 0)
        return file;
    if (file >= 0)
        close(file);
    return -1;
}

// The root may start later than those who call it.
int connect_until(const Meeting &meeting, const Deadline &deadline)
{
    for (;;) {
        const int file = meeting.name[0] ? connect_named(meeting.name)
                                         : connect_to(meeting.address, deadline.left_ms(5000));
        if (file >= 0 || deadline.over())
            return file;
        usleep(20000);
    }
}

HcclResult receive_members(int file, std::vector<Member> *all)
{
    Answer answer;

    if (!receive_all(file, &answer, sizeof answer))
        return fail(HCCL_E_TIMEOUT, "EI0015: the root did not answer within HCCL_CONNECT_TIMEOUT, "
                                    "or its process has ended");
    if (answer.code != HCCL_SUCCESS)
        return fail(static_cast<HcclResult>(answer.code), "%s", answer.why);
    all->resize(answer.ranks);
    if (!receive_all(file, all->data(), all->size() * sizeof(Member)))
        return fail(HCCL_E_INTERNAL, "EI0015: the root ended while it answered");
    return HCCL_SUCCESS;
}

} // namespace

Identity identity_random()
{
    Identity made;

    if (getrandom(&made, sizeof made, 0) != sizeof made)
        made = {now_ns(), static_cast<uint64_t>(getpid())};
    return made;
}

Identity identity_of(const Identity &parent, const uint64_t *words, size_t count)
{
    Identity made = parent;

    for (size_t i = 0; i < count; i++) { // FNV-1a, over words
        made.high = (made.high ^ words[i]) * 0x100000001b3u;
        made.low = (made.low ^ (words[i] + i)) * 0x9e3779b97f4a7c15u + 1;
    }
    return made;
}

HcclResult switchboard_address(Address *found)
{
    pthread_mutex_lock(&lock);
    const HcclResult code = start();
    *found = address;
    pthread_mutex_unlock(&lock);
    return code;
}

HcclResult switchboard_also_at(uint16_t port)
{
    pthread_mutex_lock(&lock);
    HcclResult code = start();
    if (code == HCCL_SUCCESS)
        code = also(listen_at(port, false), "the port of the rank table");
    pthread_mutex_unlock(&lock);
    return code;
}

HcclResult switchboard_also_named(const char *name)
{
    sockaddr_un at;
    const socklen_t size = put(&at, name);
    const int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool bound = file >= 0 && bind(file, reinterpret_cast<sockaddr *>(&at), size) == 0 &&
                       listen(file, SOMAXCONN) == 0;

    pthread_mutex_lock(&lock);
    HcclResult code = start();
    if (code == HCCL_SUCCESS)
        code = also(bound ? file : -1, name);
    pthread_mutex_unlock(&lock);
    return code;
}

HcclResult gather(const Meeting &meeting, uint32_t ranks, const Member &me, std::vector<Member> *all)
{
    const uint64_t patience_ns = connect_timeout_ns();
    const Deadline deadline = Deadline::after_ns(patience_ns);
    const Call call = {kCallMagic, Purpose::kGather, ranks, meeting.identity, 0, me};
    const int file = connect_until(meeting, deadline);

    if (file < 0)
        return fail(HCCL_E_TIMEOUT, "EI0015: the root at %s cannot be reached: %s",
                    meeting.name[0] ? meeting.name : meeting.address.text, strerror(errno));
    // Longer than the root waits: it knows who is missing.
    limit_wait(file, static_cast<int>(patience_ns / 1000000u) + kCallMs);
    const HcclResult code = send_all(file, &call, sizeof call)
                                ? receive_members(file, all)
                                : fail(HCCL_E_TCP_CONNECT, "EI0015: the root hung up");
    close(file);
    return code;
}

int wire_to(const Member &to, const Identity &communicator, uint64_t epoch, uint32_t rank,
            const Deadline &deadline)
{
    Meeting meeting = {to.address, "", communicator};
    Call call = {kCallMagic, Purpose::kWire, 1, communicator, epoch, {}};
    const int file = connect_until(meeting, deadline);

    call.member.rank = rank;
    if (file >= 0 && !send_all(file, &call, sizeof call)) {
        close(file);
        return -1;
    }
    return file;
}

int wire_from(const Identity &communicator, uint64_t epoch, uint32_t from, const Deadline &deadline)
{
    int found = -1;

    pthread_mutex_lock(&lock);
    while (found < 0 && !deadline.over()) {
        for (size_t i = 0; i < wires->size() && found < 0; i++) {
            const Wire &one = (*wires)[i];
            if (one.communicator == communicator && one.epoch == epoch && one.rank == from) {
                found = one.file;
                wires->erase(wires->begin() + static_cast<long>(i));
            }
        }
        timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 20000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        if (found < 0)
            pthread_cond_timedwait(&changed, &lock, &until);
    }
    pthread_mutex_unlock(&lock);
    return found;
}

} // namespace hccl
