// How messages go: over shared memory on one host, over a line between hosts.
#include "messages.h"

#include <poll.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>

#include <acl/error_codes/rt_error_codes.h>

#include "cordee_work.h"
#include "element.h"
#include "fetch.h"

namespace hccl {
namespace {

constexpr uint64_t kStep = 4u << 20;

aclError copy(const char *what, char *device, const char *from, uint64_t bytes)
{
    for (uint64_t done = 0; done < bytes; done += kStep) {
        const uint64_t some = std::min(kStep, bytes - done);
        const Held to(device, nullptr, done, some);
        if (!to.get())
            return fail_freed(what);
        memmove(to.get(), from + done, some);
    }
    return ACL_SUCCESS;
}

void ring_seat(Seat &seat)
{
    seat.bell.fetch_add(1);
    if (seat.sleeps.load() != 0)
        ring(seat.bell);
}

// To oneself: the k-th send is the k-th receive.
aclError copy_own(const char *what, std::deque<Message *> &sends, std::deque<Message *> &receives)
{
    for (; !sends.empty() && !receives.empty(); sends.pop_front(), receives.pop_front()) {
        const uint64_t bytes = sends.front()->bytes;
        if (bytes == 0)
            continue;
        const Held from(sends.front()->device, nullptr, 0, bytes);
        const Held to(receives.front()->device, nullptr, 0, bytes);
        if (!from.get() || !to.get())
            return fail_freed(what);
        memmove(to.get(), from.get(), bytes);
    }
    return ACL_SUCCESS;
}

} // namespace

Messages::Messages(Handle communicator, const char *what, std::vector<Message> all)
    : Operation(std::move(communicator), what), all_(std::move(all))
{
}

void Messages::take_over(Messages &other)
{
    for (Message &message : other.all_)
        all_.push_back(std::move(message));
    other.all_.clear();
}

aclError Messages::start()
{
    const uint32_t me = communicator().rank;

    for (Message &message : all_) {
        entry.carried.push_back({message.sends, message.peer, message.bytes});
        entry.bytes += message.bytes;
        Peer &peer = peers_[message.peer];
        (message.sends ? peer.sends : peer.receives).push_back(&message);
    }
    const auto own = peers_.find(me);
    if (own == peers_.end())
        return ACL_SUCCESS;
    aclError code = copy_own(what(), own->second.sends, own->second.receives);
    if (code == ACL_SUCCESS && !own->second.is_done())
        code = fail_task(ACL_ERROR_RT_FFTS_PLUS_EXCEPTION,
                         "%s: rank %u sends to itself what it does not receive", what(), me);
    peers_.erase(own);
    return code;
}

aclError Messages::run(const Patience &patience)
{
    Communicator &c = communicator();
    std::atomic<uint32_t> &bell = c.room.seat(c.my_seat()).bell;
    aclError code = start();

    while (code == ACL_SUCCESS && !peers_.empty()) {
        const uint32_t seen = bell.load();
        code = patience.proceed();
        for (auto one = peers_.begin(); code == ACL_SUCCESS && one != peers_.end();) {
            code = advance(patience, one->first, one->second);
            one = one->second.is_done() ? peers_.erase(one) : std::next(one);
        }
        if (code == ACL_SUCCESS && !peers_.empty())
            code = patience.check(peers_.begin()->first);
        if (code == ACL_SUCCESS && !peers_.empty())
            sleep(seen);
    }
    return code;
}

// With ranks on both sides of the network neither can be slept on alone for long.
void Messages::sleep(uint32_t bell_seen)
{
    Communicator &c = communicator();
    Seat &seat = c.room.seat(c.my_seat());
    std::vector<pollfd> waiting;
    bool here = false;

    for (const auto &[rank, peer] : peers_) {
        if (c.is_local(rank)) {
            here = true;
            continue;
        }
        const bool writes = peer.writer != Writer::kIdle;
        const short wants = static_cast<short>(POLLIN | (writes ? POLLOUT : 0));
        waiting.push_back({c.lines[rank]->error() ? -1 : c.lines[rank]->file(), wants, 0});
    }
    if (!waiting.empty()) {
        poll(waiting.data(), waiting.size(), here ? 1 : kSliceMs);
        return;
    }
    const uint64_t end = now_ns() + kWatchNs;
    while (seat.bell.load() == bell_seen && now_ns() < end)
        sched_yield();
    seat.sleeps.fetch_add(1);
    sleep_on(seat.bell, bell_seen, kSliceMs);
    seat.sleeps.fetch_sub(1);
}

aclError Messages::advance(const Patience &patience, uint32_t rank, Peer &peer)
{
    const bool here = communicator().is_local(rank);
    aclError code = here ? send_here(rank, peer) : read_line(rank, peer);

    if (code == ACL_SUCCESS)
        code = here ? receive_here(patience, rank, peer) : write_line(rank, peer);
    return code;
}

aclError Messages::send_here(uint32_t rank, Peer &peer)
{
    Communicator &c = communicator();
    const uint32_t seat = static_cast<uint32_t>(c.seat_of[rank]);
    Channel &channel = c.room.channel(c.my_seat(), seat);

    while (!peer.sends.empty()) {
        Message &message = *peer.sends.front();
        if (message.offered && channel.state.load() == kFetched) {
            channel.state.store(kFree);
            peer.sends.pop_front();
            continue;
        }
        if (message.offered || channel.state.load() != kFree)
            return ACL_SUCCESS;
        if (message.bytes > 0 && !locate(message.device, message.bytes, &channel.place)) {
            message.copied = std::make_unique<Stage>();
            char *copied = message.copied->room(message.bytes);
            const Held from(message.device, nullptr, 0, message.bytes);
            if (!copied || !from.get())
                return fail_freed(what());
            memcpy(copied, from.get(), message.bytes);
            channel.place = message.copied->place();
        }
        channel.bytes = message.bytes;
        channel.type = message.type;
        channel.state.store(kOffered);
        message.offered = true;
        ring_seat(c.room.seat(seat));
        return ACL_SUCCESS;
    }
    return ACL_SUCCESS;
}

aclError Messages::receive_here(const Patience &patience, uint32_t rank, Peer &peer)
{
    Communicator &c = communicator();
    const uint32_t seat = static_cast<uint32_t>(c.seat_of[rank]);
    Channel &channel = c.room.channel(seat, c.my_seat());
    aclError code = ACL_SUCCESS;

    if (peer.receives.empty() || channel.state.load() != kOffered || peer.outage.lasts(c, rank, &code))
        return code;
    Message &message = *peer.receives.front();
    if (channel.bytes != message.bytes)
        return fail_task(ACL_ERROR_RT_FFTS_PLUS_EXCEPTION,
                         "EI0005: %s: rank %u sends %lu bytes to rank %u, which expects %lu", what(),
                         rank, channel.bytes, c.rank, message.bytes);
    const uint64_t began = now_ns();
    const char *from = c.views.at(channel.place, 0, message.bytes);
    if (message.bytes > 0)
        code = from ? copy(what(), message.device, from, message.bytes)
                    : fail_task(ACL_ERROR_RT_SUSPECT_REMOTE_ERROR,
                                "%s: the memory of rank %u cannot be mapped", what(), rank);
    if (code == ACL_SUCCESS && is_modelled(c, rank))
        code = patience.pause(cordee_link_pass(c.members[rank].chip, c.chip, message.bytes,
                                               now_ns() - began));
    if (code != ACL_SUCCESS)
        return code;
    peer.receives.pop_front();
    channel.state.store(kFetched);
    ring_seat(c.room.seat(seat));
    return ACL_SUCCESS;
}

aclError Messages::transfer(Line &line, Message &message, bool *all)
{
    while (message.done < message.bytes) {
        const uint64_t some = std::min(kStep, message.bytes - message.done);
        const Held memory(message.device, nullptr, message.done, some);
        if (!memory.get())
            return fail_freed(what());
        const size_t moved = message.sends ? line.send_some(memory.get(), some)
                                           : line.receive_some(memory.get(), some);
        if (moved == 0)
            break;
        message.done += moved;
    }
    *all = message.done == message.bytes;
    return ACL_SUCCESS;
}

aclError Messages::read_frame(uint32_t rank, Peer &peer, bool *more)
{
    Line &line = *communicator().lines[rank];
    Frame said;

    *more = line.receive(&said);
    if (!*more)
        return ACL_SUCCESS;
    const bool fits = said.round == kMessage &&
                      (said.said == Said::kReady || (peer.ready_said && !peer.receives.empty() &&
                                                     said.bytes == peer.receives.front()->bytes));
    if (!fits)
        return fail_task(ACL_ERROR_RT_FFTS_PLUS_EXCEPTION,
                         "EI0005: %s: rank %u sends %lu bytes that rank %u does not expect", what(), rank,
                         said.bytes, communicator().rank);
    if (said.said == Said::kReady)
        line.credits++;
    else
        peer.reads_bytes = true;
    return ACL_SUCCESS;
}

aclError Messages::read_line(uint32_t rank, Peer &peer)
{
    Line &line = *communicator().lines[rank];
    bool more = true;

    while (more && !peer.is_done()) {
        aclError code = ACL_SUCCESS;
        if (peer.reads_bytes) {
            code = transfer(line, *peer.receives.front(), &more);
            if (code == ACL_SUCCESS && more) {
                peer.receives.pop_front();
                peer.reads_bytes = peer.ready_said = false;
            }
        } else if (peer.ready_said || (!peer.sends.empty() && line.credits == 0)) {
            code = read_frame(rank, peer, &more);
        } else {
            more = false;
        }
        if (code != ACL_SUCCESS)
            return code;
    }
    if (line.error() && !peer.is_done())
        communicator().note_broken(rank, strerror(line.error()));
    return ACL_SUCCESS;
}

aclError Messages::write_line(uint32_t rank, Peer &peer)
{
    Communicator &c = communicator();
    Line &line = *c.lines[rank];
    bool more = true;

    while (more && !peer.is_done()) {
        if (peer.writer == Writer::kIdle) {
            if (!peer.receives.empty() && !peer.ready_said)
                peer.writer = Writer::kReady;
            else if (!peer.sends.empty() && line.credits > 0)
                peer.writer = Writer::kFrame;
            else
                return ACL_SUCCESS;
        }
        const bool asks = peer.writer == Writer::kReady;
        Message &message = asks ? *peer.receives.front() : *peer.sends.front();
        if (peer.writer == Writer::kBytes) {
            if (aclError code = transfer(line, message, &more); code != ACL_SUCCESS)
                return code;
            if (more) {
                peer.writer = Writer::kIdle;
                line.credits--;
                peer.sends.pop_front();
            }
            continue;
        }
        more = line.send({kFrameMagic, asks ? Said::kReady : Said::kBytes, 0, kMessage,
                          static_cast<uint32_t>(message.type), message.bytes, {}});
        if (more) {
            peer.ready_said = peer.ready_said || asks;
            peer.writer = asks ? Writer::kIdle : Writer::kBytes;
        }
    }
    return ACL_SUCCESS;
}

} // namespace hccl
