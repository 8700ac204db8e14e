// Rooms for ranks on one host, lines between hosts.
#include "creation.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "cordee_work.h"
#include "group.h"
#include "settings.h"

namespace hccl {
namespace {

// Who can reach each other's memory: the same kernel, namespaces and user.
void seat(Communicator &c)
{
    const Host &here = c.members[c.rank].host;

    c.seat_of.assign(c.members.size(), -1);
    for (const Member &member : c.members)
        if (same(member.host, here)) {
            c.seat_of[member.rank] = static_cast<int>(c.locals.size());
            c.locals.push_back(member.rank);
        }
}

// The lowest rank of a host lends its room to the others.
HcclResult enter_room(Communicator &c)
{
    const Member &host = c.members[c.locals[0]];

    if (!c.room.enter(host.pid, host.room, c.ranks(), static_cast<uint32_t>(c.locals.size())))
        return fail(HCCL_E_SYSCALL, "the shared memory of rank %u (process %d) cannot be opened: %s",
                    host.rank, host.pid, strerror(errno));
    if (host.rank != c.rank) {
        close(c.room_file);
        c.room_file = -1;
    }
    return HCCL_SUCCESS;
}

} // namespace

HcclResult connect(Communicator &c, uint64_t epoch)
{
    const Deadline deadline = Deadline::after_ns(connect_timeout_ns());

    c.lines.clear();
    c.lines.resize(c.members.size());
    for (const Member &other : c.members) {
        if (c.is_local(other.rank))
            continue;
        const int file = other.rank < c.rank
                             ? wire_to(other, c.identity, epoch, c.rank, deadline)
                             : wire_from(c.identity, epoch, other.rank, deadline);
        if (file < 0)
            return fail(HCCL_E_TIMEOUT, "EI0006: Getting socket times out. Reason: rank %u at %s does "
                                        "not answer rank %u within HCCL_CONNECT_TIMEOUT",
                        other.rank, other.address.text, c.rank);
        c.lines[other.rank] = std::make_unique<Line>(file);
    }
    return HCCL_SUCCESS;
}

namespace {

HcclResult meet(Communicator &c, const Meeting &meeting, uint32_t ranks)
{
    Member me = member_here(c.rank, c.chip);
    HcclResult code = switchboard_address(&me.address);

    if (code != HCCL_SUCCESS)
        return code;
    c.room_file = me.room = Room::offer(ranks);
    if (me.room < 0)
        return fail(HCCL_E_MEMORY, "no shared memory for %u ranks: %s", ranks, strerror(errno));
    code = gather(meeting, ranks, me, &c.members);
    if (code != HCCL_SUCCESS)
        return code;
    seat(c);
    code = enter_room(c);
    return code == HCCL_SUCCESS ? connect(c, 0) : code;
}

} // namespace

Wishes wishes_of_environment()
{
    return {"", execute_timeout_ns(), buffer_mib(), ""};
}

HcclResult read_wishes(const HcclCommConfig *config, Wishes *wishes)
{
    struct Head {
        size_t size;
        uint32_t magic, version;
    };
    Head head;

    memcpy(&head, config, sizeof head);
    if (head.magic != HCCL_COMM_CONFIG_MAGIC_WORD)
        return fail(HCCL_E_PARA, "EI0003: the configuration's magic word is 0x%x: "
                                 "HcclCommConfigInit was not called", head.magic);
    if (config->hcclBufferSize != HCCL_COMM_BUFFSIZE_CONFIG_NOT_SET)
        wishes->buffer_mib = config->hcclBufferSize;
    if (wishes->buffer_mib == 0)
        return fail(HCCL_E_PARA, "EI0003: hcclBufferSize is 0 MiB");
    if (config->hcclDeterministic != HCCL_COMM_DETERMINISTIC_CONFIG_NOT_SET &&
        config->hcclDeterministic > 2)
        return fail(HCCL_E_PARA, "EI0003: hcclDeterministic is %u", config->hcclDeterministic);
    if (head.version >= 5 && config->hcclExecTimeOut != HCCL_COMM_EXECTIMEOUT_CONFIG_NOT_SET)
        wishes->execute_timeout_ns = static_cast<uint64_t>(config->hcclExecTimeOut) * 1000000000u;
    if (head.size >= offsetof(HcclCommConfig, hcclBufferName) + BUFFER_NAME_MAX_LENGTH)
        wishes->buffer_name.assign(config->hcclBufferName,
                                   strnlen(config->hcclBufferName, BUFFER_NAME_MAX_LENGTH));
    wishes->name.assign(config->hcclCommName, strnlen(config->hcclCommName, COMM_NAME_MAX_LENGTH));
    return HCCL_SUCCESS;
}

namespace {

HcclResult create_now(const Meeting &meeting, uint32_t ranks, uint32_t rank, const Wishes &wishes,
                      HcclComm *made)
{
    auto c = std::make_shared<Communicator>();

    c->chip = cordee_current_chip();
    if (c->chip < 0)
        return fail(HCCL_E_RUNTIME, "this thread uses no device");
    if (!wishes.name.empty() && handle_name_taken(wishes.name, c->chip))
        return fail(HCCL_E_PARA, "The comm name[%s] already exists", wishes.name.c_str());
    c->rank = rank;
    c->identity = meeting.identity;
    c->execute_timeout_ns = wishes.execute_timeout_ns;
    c->aborts = cordee_aborts(c->chip);
    HcclResult code = meet(*c, meeting, ranks);
    if (code != HCCL_SUCCESS)
        return code;
    const Address &root = c->members[0].address;
    c->name = wishes.name.empty() ? std::string(root.text) + "_" + std::to_string(root.port) + "_" +
                                        std::to_string(c->members[0].chip) + "_" +
                                        std::to_string(c->identity.low)
                                  : wishes.name;
    c->buffers = Buffers::claim(c->chip, wishes.buffer_name, wishes.buffer_mib);
    if (!c->buffers)
        return fail(HCCL_E_OOM, "chip %d has no room left for the buffers of communicator %s, twice "
                                "%u MiB (HCCL_BUFFSIZE)", c->chip, c->name.c_str(), wishes.buffer_mib);
    *made = handle_open(std::move(c));
    return HCCL_SUCCESS;
}

} // namespace

HcclResult create(const Meeting &meeting, uint32_t ranks, uint32_t rank, const Wishes &wishes,
                  HcclComm *made)
{
    if (!made)
        return fail(HCCL_E_PTR, "no place for the communicator");
    if (rank >= ranks)
        return fail(HCCL_E_PARA, "rank %u of %u ranks", rank, ranks);
    if (!group_is_open())
        return create_now(meeting, ranks, rank, wishes, made);
    return group_add_creation([=] { return create_now(meeting, ranks, rank, wishes, made); });
}

} // namespace hccl
