// How a rank takes part in a collective.
//
// Phases of operation s: 4 s + 1 the first round is offered, 4 s + 2 the second, 4 s + 3 done with
// the memory of all others.
#include "collective.h"

#include <string.h>

#include <acl/error_codes/rt_error_codes.h>

#include "element.h"
#include "fetch.h"

namespace hccl {
namespace {

constexpr uint64_t kPhases = 4;

bool same_signature(const Signature &a, const Signature &b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

// What a rank would copy onto itself.
bool is_in_place(const Round &round, uint32_t rank, uint32_t from)
{
    return from == rank && !round.reduces && round.offered.device && round.target.device &&
           round.offered.device + round.outgoing[rank].start ==
               round.target.device + round.incoming[rank].start;
}

// The first thing in which two ranks differ, and both values.
struct Difference {
    const char *parameter;
    uint64_t local, remote;
};

Difference difference(const Signature &a, const Signature &b)
{
    if (a.kind != b.kind)
        return {"cmdType", a.kind, b.kind};
    if (a.type != b.type)
        return {"dataType", a.type, b.type};
    if (a.reduction != b.reduction)
        return {"op", a.reduction, b.reduction};
    if (a.root != b.root)
        return {"root", a.root, b.root};
    return {"count", a.count, b.count};
}

} // namespace

aclError Collective::run(const Patience &patience)
{
    const uint64_t operation = communicator().next_operation();
    entry.number = operation;
    const aclError code = take_part(patience, operation);

    communicator().room.arrive(communicator().my_seat(), kPhases * operation + 3);
    if (code != ACL_SUCCESS || as_message_)
        return code;
    return wait_for_all(patience, kPhases * operation + 3); // others still read our memory
}

aclError Collective::take_part(const Patience &patience, uint64_t operation)
{
    Communicator &c = communicator();

    for (uint32_t number = 0; number < plan_.rounds.size(); number++) {
        const Round &round = plan_.rounds[number];
        Sources sources(c.ranks(), nullptr);
        std::vector<std::unique_ptr<char[]>> kept(c.ranks());
        char *own_offered = round.offered.device ? nullptr : c.own.room(round.offered.bytes);
        char *own_target = round.target.device ? nullptr : c.own.room(round.target.bytes);

        aclError code = offer(operation, number);
        if (code != ACL_SUCCESS)
            return code;
        c.room.arrive(c.my_seat(), kPhases * operation + 1 + number);
        if (!c.all_local())
            code = exchange(patience, c, plan_, number, operation, own_offered, own_target, &kept,
                            &sources, number == 0 ? &entry.met_ns : nullptr);
        if (code == ACL_SUCCESS)
            code = gather_all(patience, operation, number);
        if (code == ACL_SUCCESS)
            code = check_agreement(operation);
        if (code == ACL_SUCCESS)
            code = check_pieces(operation, number);
        if (code != ACL_SUCCESS)
            return code;
        for (uint32_t seat = 0; seat < c.locals.size(); seat++) {
            const Piece piece = c.room.piece(operation, number, seat, c.my_seat());
            const Place place = c.room.post(operation, seat).place[number];
            if (piece.bytes == 0 || is_in_place(round, c.rank, c.locals[seat]))
                continue;
            const char *source = place.file < 0 ? c.room.message(operation, seat) + piece.start
                                                : c.views.at(place, piece.start, piece.bytes);
            if (!source)
                return fail_task(ACL_ERROR_RT_SUSPECT_REMOTE_ERROR,
                                 "%s: the memory of rank %u cannot be mapped: its process has ended",
                                 what(), c.locals[seat]);
            sources[c.locals[seat]] = source;
        }
        code = fetch(patience, c, plan_, round, own_target, sources);
        if (code != ACL_SUCCESS)
            return code;
    }
    return ACL_SUCCESS;
}

// Small ones are posted whole: then nobody has to wait until the others have read them.
bool Collective::post_message(uint64_t operation)
{
    Communicator &c = communicator();
    const Buffer &offered = plan_.rounds[0].offered;

    if (plan_.rounds.size() != 1 || offered.bytes > c.inline_bytes())
        return false;
    if (offered.bytes > 0) {
        const Held from(offered.device, nullptr, 0, offered.bytes);
        if (!from.get())
            return false;
        memcpy(c.room.message(operation, c.my_seat()), from.get(), offered.bytes);
    }
    return true;
}

aclError Collective::offer(uint64_t operation, uint32_t number)
{
    Communicator &c = communicator();
    const Round &round = plan_.rounds[number];
    Post &post = c.room.post(operation, c.my_seat());
    Place &place = post.place[number];

    if (number == 0) {
        post.operation = operation;
        post.signature = plan_.signature;
        as_message_ = post_message(operation);
    }
    for (uint32_t seat = 0; seat < c.locals.size(); seat++)
        c.room.piece(operation, number, c.my_seat(), seat) = round.outgoing[c.locals[seat]];
    if (as_message_) {
        place.file = -1;
    } else if (!round.offered.device) {
        place = c.own.place();
    } else if (round.offered.bytes > 0 && !locate(round.offered.device, round.offered.bytes, &place)) {
        char *copied = c.copies[number].room(round.offered.bytes);
        const Held from(round.offered.device, nullptr, 0, round.offered.bytes);
        if (!copied || !from.get())
            return fail_task(ACL_ERROR_RT_SYS_DMA, "%s: its buffer is not device memory", what());
        memcpy(copied, from.get(), round.offered.bytes);
        place = c.copies[number].place();
    }
    return ACL_SUCCESS;
}

// Notes when all were there. Ranks on other hosts were, once the network has brought their bytes.
aclError Collective::gather_all(const Patience &patience, uint64_t operation, uint32_t number)
{
    const uint64_t phase = kPhases * operation + 1 + number;
    const bool are_here = communicator().room.all_at(phase);
    const aclError code = wait_for_all(patience, phase);

    if (code == ACL_SUCCESS && number == 0 && (entry.met_ns == 0 || !are_here))
        entry.met_ns = now_ns();
    return code;
}

aclError Collective::wait_for_all(const Patience &patience, uint64_t phase) const
{
    Communicator &c = communicator();

    while (!c.room.all_at(phase)) {
        uint32_t absent = 0;
        while (absent + 1 < c.locals.size() && c.room.seat(absent).phase.load() >= phase)
            absent++;
        if (aclError code = patience.check(c.locals[absent]); code != ACL_SUCCESS)
            return code;
        c.room.doze(phase, kSliceMs);
    }
    return patience.proceed();
}

aclError Collective::check_agreement(uint64_t operation) const
{
    Communicator &c = communicator();

    for (uint32_t seat = 0; seat < c.locals.size(); seat++) {
        const Post &post = c.room.post(operation, seat);
        if (post.operation == operation && same_signature(post.signature, plan_.signature))
            continue;
        const Difference d = difference(plan_.signature, post.signature);
        return fail_task(ACL_ERROR_RT_FFTS_PLUS_EXCEPTION,
                         "EI0005: The arguments for collective communication are inconsistent "
                         "between ranks: tag [%s_%s], parameter [%s], local [%lu, rank %u], remote "
                         "[%lu, rank %u]", what(), c.name.c_str(), d.parameter, d.local, c.rank,
                         d.remote, c.locals[seat]);
    }
    return ACL_SUCCESS;
}

// Of operations whose sizes are each rank's own affair, what one sends must be what another expects.
aclError Collective::check_pieces(uint64_t operation, uint32_t number) const
{
    Communicator &c = communicator();
    const Round &round = plan_.rounds[number];

    for (uint32_t seat = 0; seat < c.locals.size(); seat++) {
        const uint64_t sent = c.room.piece(operation, number, seat, c.my_seat()).bytes;
        const uint64_t expected = round.incoming[round.reduces ? 0 : c.locals[seat]].bytes;
        if (sent != expected)
            return fail_task(ACL_ERROR_RT_FFTS_PLUS_EXCEPTION,
                             "EI0005: %s: rank %u sends %lu bytes to rank %u, which expects %lu",
                             what(), c.locals[seat], sent, c.rank, expected);
    }
    return ACL_SUCCESS;
}

} // namespace hccl
